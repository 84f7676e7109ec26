"""keystone_server.py FOLDER LIFE

Keystone in an empty folder of its own, with an administrator in the project cn-north-4; its tokens live LIFE seconds.
It serves on a free port of loopback, which the file FOLDER/port then holds.
"""

import os
import subprocess
import sys

CONFIGURATION = """
[DEFAULT]
log_file = {0}/keystone.log
use_stderr = false
[database]
connection = sqlite:///{0}/keystone.db
[identity]
# Hashing for minutes would prove nothing here.
password_hash_rounds = 4
[token]
provider = fernet
expiration = {1}
[fernet_tokens]
key_repository = {0}/fernet
[fernet_receipts]
key_repository = {0}/fernet
[credential]
key_repository = {0}/credential
[cache]
enabled = false
"""


def prepare(folder, life):
    for name in ("etc", "fernet", "credential"):
        os.mkdir(f"{folder}/{name}", 0o700)
    with open(f"{folder}/etc/keystone.conf", "w") as file:
        file.write(CONFIGURATION.format(folder, life))
    manage = [f"{os.path.dirname(sys.executable)}/keystone-manage", "--config-file", f"{folder}/etc/keystone.conf"]
    owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    bootstrap = {
        "username": "admin",
        "password": "AdminPass1",
        "project-name": "cn-north-4",
        "role-name": "admin",
        "service-name": "keystone",
        "region-id": "cn-north-4",
        "public-url": "http://127.0.0.1/v3",
    }
    options = [text for name, value in bootstrap.items() for text in (f"--bootstrap-{name}", value)]
    for arguments in (["db_sync"], ["fernet_setup", *owner], ["credential_setup", *owner], ["bootstrap", *options]):
        subprocess.run([*manage, *arguments], check=True)


def serve(folder):
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = f"{folder}/etc"
    # Keystone reads the command line too.
    sys.argv[1:] = []
    from keystone.server import wsgi
    from werkzeug.serving import make_server

    # One request after the other: SQLite refuses a write while another one is made.
    server = make_server("127.0.0.1", 0, wsgi.initialize_public_application())
    with open(f"{folder}/port.new", "w") as file:
        file.write(str(server.server_port))
    os.rename(f"{folder}/port.new", f"{folder}/port")
    server.serve_forever()


_, folder, life = sys.argv
prepare(folder, life)
serve(folder)

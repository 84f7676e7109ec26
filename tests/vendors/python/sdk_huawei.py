"""Huawei Cloud's own SDK as a client of the origins in HUAWEI_ENDPOINT and IAM_ENDPOINT.

  everything   every emulated operation, with keys, temporary keys and a token, refusals included
  clock        a cloud whose clock is two hours ahead refuses the signature
  lock         refused signatures in a row lock the key
  throttled    the second call within a minute is one too many
  envelope     a refusal is reported with the code in EXPECTED_CODE
  plain        one request of each kind that the operator sends, for a comparison
"""

import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkgaussdb.v3 import *
from huaweicloudsdkiam.v3 import (
    AuthScope,
    AuthScopeProject,
    IamClient,
    KeystoneCreateUserTokenByPasswordRequest,
    KeystoneCreateUserTokenByPasswordRequestBody,
    KeystoneListProjectsRequest,
    KeystoneValidateTokenRequest,
    PwdAuth,
    PwdIdentity,
    PwdPassword,
    PwdPasswordUser,
    PwdPasswordUserDomain,
)

import check

PROJECT = "23a50154cf494ec9ad6883979a12db0a"
OTHER_PROJECT = "ffffffffffffffffffffffffffffffff"
INSTANCE = "df3ae779e2ad4993a03ccd7a81240125in16"
MISSING = "00000000000000000000000000000000in16"
TAURUS = "fb632d1d531a4107804f0f082581810fin07"
DATABASE, IAM = (os.environ[name].rstrip("/") for name in ("HUAWEI_ENDPOINT", "IAM_ENDPOINT"))
KEYS = ("AK", "SK")
TEMPORARY_KEYS = ("TEMPORARYAK", "TEMPORARYSK")
PASSWORD, OTHER_PASSWORD = "Passw0rd~!@#%^*-_=+?", "Rds_1234"


def connect(keys=KEYS, project=PROJECT, security_token=None):
    credentials = BasicCredentials(*keys, project)
    if security_token:
        credentials.with_security_token(security_token)
    return GaussDBClient.new_builder().with_credentials(credentials).with_endpoint(DATABASE).build()


def identity(keys=KEYS):
    credentials = GlobalCredentials(*keys, "any-domain")
    return IamClient.new_builder().with_credentials(credentials).with_endpoint(IAM).build()


def create(name, password=PASSWORD, databases=("*",), dml=None, instance=INSTANCE):
    body = ClickHouseDatabaseUserInfo(user_name=name, password=password, databases=list(databases), dml=dml)
    return CreateClickHouseDatabaseUserRequest(instance_id=instance, body=body)


def listing(instance=INSTANCE, **query):
    return ShowClickHouseDatabaseUserRequest(instance_id=instance, **query)


def delete(name):
    return DeleteClickHouseDatabaseUserRequest(instance_id=INSTANCE, user_name=name)


def set_password(name, password=OTHER_PASSWORD):
    body = ClickHouseDatabaseUserPWinfo(user_name=name, password=password)
    return UpdateClickHouseDatabaseUserPasswordRequest(instance_id=INSTANCE, body=body)


def set_permission(name, databases=("db1", "db2"), dml=2):
    body = ClickHouseDatabaseUserPSinfo(user_name=name, databases=list(databases), dml=dml)
    return UpdateClickHouseDatabaseUserPermissionRequest(instance_id=INSTANCE, body=body)


def detail(instance=INSTANCE):
    return ListClickHouseInstanceRequest(instance_id=TAURUS, clickhouse_instance_id=instance)


def login(password="IAMPassword", project=PROJECT):
    user = PwdPasswordUser(name="IAMUser", password=password, domain=PwdPasswordUserDomain(name="IAMDomain"))
    identity = PwdIdentity(methods=["password"], password=PwdPassword(user=user))
    auth = PwdAuth(identity=identity, scope=AuthScope(project=AuthScopeProject(id=project)))
    body = KeystoneCreateUserTokenByPasswordRequestBody(auth=auth)
    return KeystoneCreateUserTokenByPasswordRequest(nocatalog="true", body=body)


def refused(what, call, request, status, code):
    try:
        call(request)
    except ServiceResponseException as error:
        check.equal(what, (error.status_code, error.error_code), (status, code))
        check.equal(f"{what}: request id", bool(error.request_id), True)
    else:
        sys.exit(f"{what}: not refused")


def succeeded(what, answer):
    check.equal(what, answer.result, "SUCCESS")


def accounts(client, **query):
    rows = client.show_click_house_database_user(listing(**query)).user_details
    return [(row.user_name, row.databases, row.dml, row.ddl) for row in rows]


ROOT = ("root", ["*"], 2, 0)


def whole_life(client, name):
    """Every changing call on one account."""
    succeeded("create", client.create_click_house_database_user(create(name, databases=["db1"], dml=1)))
    check.equal("created", accounts(client, limit=100, offset=0), [ROOT, (name, ["db1"], 1, 0)])
    succeeded("password", client.update_click_house_database_user_password(set_password(name)))
    succeeded("permission", client.update_click_house_database_user_permission(set_permission(name)))
    check.equal("changed", accounts(client, user_name=name), [(name, ["db1", "db2"], 2, 0)])
    check.equal("page", accounts(client, limit=1, offset=1), [(name, ["db1", "db2"], 2, 0)])
    succeeded("delete", client.delete_click_house_database_user(delete(name)))
    check.equal("deleted", accounts(client), [ROOT])


def reads(client):
    page = ListClickHouseDataBaseRequest(instance_id=INSTANCE, limit=1, offset=1)
    databases = client.list_click_house_data_base(page)
    check.equal("databases", (databases.databases, databases.total_count), (["db2"], 2))
    instance = client.list_click_house_instance(detail()).instance
    check.equal("instance", (instance.id, instance.status, instance.ssl_option), (INSTANCE, "normal", False))
    ports = instance.port_info
    check.equal("ports", (ports.http_port, ports.tep_port, ports.mysql_port), (8123, 9000, 3306))
    node = instance.groups[0].nodes[0]
    check.equal("node", (node.type, node.traffic_ip, node.traffic_vip), ("master", "192.168.0.55", ""))
    htap = client.list_htap_instance_info(ListHtapInstanceInfoRequest(instance_id=TAURUS))
    check.equal("instances", (htap.total, [row.id for row in htap.instances]), (1, [INSTANCE]))
    job = ShowGaussMySqlJobInfoRequest(id="a0000000-0000-0000-0000-000000000000")
    refused("job", client.show_gauss_my_sql_job_info, job, 400, "DBS.200543")


def refusals(client):
    succeeded("create", client.create_click_house_database_user(create("taken", dml=2)))
    for what, request, status, code in (
        ("exists", create("taken"), 409, "DBS.200827"),
        ("name", create("Not-legal"), 400, "DBS.280292"),
        ("weak", create("weak", password="password"), 400, "DBS.280203"),
        ("built in", create("root"), 409, "DBS.200828"),
        ("database", create("reader", databases=["nowhere"]), 400, "DBS.200823"),
        ("dml", create("reader", dml=3), 400, "DBS.280001"),
        ("missing instance", create("reader", instance=MISSING), 404, "DBS.200002"),
        ("malformed instance", create("reader", instance="short"), 400, "DBS.280404"),
        ("busy instance", create("reader", instance="1" * 32 + "in16"), 409, "DBS.200019"),
        ("abnormal instance", create("reader", instance="2" * 32 + "in16"), 400, "DBS.200086"),
        ("frozen instance", create("reader", instance="3" * 32 + "in16"), 400, "DBS.280449"),
        ("foreign instance", create("reader", instance="4" * 32 + "in16"), 403, "DBS.200044"),
    ):
        refused(what, client.create_click_house_database_user, request, status, code)
    refused("delete", client.delete_click_house_database_user, delete("nobody"), 400, "DBS.200824")
    password = client.update_click_house_database_user_password
    refused("password", password, set_password("nobody"), 400, "DBS.200824")
    permission = client.update_click_house_database_user_permission
    refused("permission", permission, set_permission("nobody"), 400, "DBS.200824")
    refused("page", client.show_click_house_database_user, listing(limit=101), 400, "DBS.280439")
    refused("detail", client.list_click_house_instance, detail(MISSING), 404, "DBS.200002")
    nodes = ListClickHouseInstanceNodeRequest(instance_id=INSTANCE)
    refused("not emulated", client.list_click_house_instance_node, nodes, 404, "APIGW.0101")
    succeeded("delete", client.delete_click_house_database_user(delete("taken")))


def credentials(token):
    def lists(keys=KEYS, **how):
        return connect(keys, **how).show_click_house_database_user

    for what, call in (
        ("wrong secret", lists(("AK", "OTHER"))),
        ("unknown key", lists(("NOBODY", "SK"))),
        ("temporary keys without their token", lists(TEMPORARY_KEYS)),
        ("temporary keys with another token", lists(TEMPORARY_KEYS, security_token="OTHER")),
        ("temporary keys that have ended", lists(("ENDEDAK", "ENDEDSK"), security_token="ENDEDTOKEN")),
        ("keys with a token they have not", lists(security_token="TEMPORARYTOKEN")),
    ):
        refused(what, call, listing(), 401, "APIGW.0301")
    refused("foreign project", lists(project=OTHER_PROJECT), listing(), 403, "APIGW.0310")

    def with_token(client, text):
        return lambda request: client.show_click_house_database_user_invoker(request).add_header(
            "X-Auth-Token", text
        ).invoke()

    # The signature is of a key that is not known, so it is the token that counts.
    unknown = connect(("NOBODY", "SK"))
    check.equal("by token", with_token(unknown, token)(listing()).total_count, 1)
    refused("unknown token", with_token(unknown, "MIInone"), listing(), 401, "APIGW.0301")
    foreign = connect(("NOBODY", "SK"), project=OTHER_PROJECT)
    refused("token of another project", with_token(foreign, token), listing(), 403, "DBS.280056")


def tokens():
    client = identity()
    answer = client.keystone_create_user_token_by_password(login())
    token = answer.token
    check.equal("project", (token.project.id, token.project.name), (PROJECT, "cn-north-4"))
    check.equal("user", (token.user.name, token.user.domain.name), ("IAMUser", "IAMDomain"))
    check.equal("methods", token.methods, ["password"])
    check.equal("catalog", token.catalog, [])
    shown = client.keystone_validate_token(KeystoneValidateTokenRequest(x_subject_token=answer.x_subject_token))
    check.equal("shown", (shown.token.expires_at, shown.token.user.id), (token.expires_at, token.user.id))
    unknown = KeystoneValidateTokenRequest(x_subject_token="MIInone")
    refused("unknown token", client.keystone_validate_token, unknown, 404, 404)
    other = identity(("AK", "OTHER")).keystone_validate_token
    refused("wrong secret", other, KeystoneValidateTokenRequest(x_subject_token="MIInone"), 401, "APIGW.0301")
    password = client.keystone_create_user_token_by_password
    refused("wrong password", password, login(password="wrong"), 401, 401)
    refused("unknown project", password, login(project=MISSING), 404, 404)
    projects = client.keystone_list_projects(KeystoneListProjectsRequest(name="cn-north-4")).projects
    check.equal("projects", [project.id for project in projects], [PROJECT])
    return answer.x_subject_token


def discovery():
    """The SDK asks IAM for the project where it is told none."""
    credentials = BasicCredentials(*KEYS).with_iam_endpoint(IAM)
    builder = GaussDBClient.new_builder().with_credentials(credentials)
    client = builder.with_region(Region("cn-north-4", DATABASE)).build()
    check.equal("discovered", accounts(client), [ROOT])


def everything():
    whole_life(connect(), "by_keys")
    whole_life(connect(TEMPORARY_KEYS, security_token="TEMPORARYTOKEN"), "by_temporary_keys")
    reads(connect())
    refusals(connect())
    discovery()
    credentials(tokens())


def clock():
    for keys, token in ((KEYS, None), (TEMPORARY_KEYS, "TEMPORARYTOKEN")):
        client = connect(keys, security_token=token)
        refused("late", client.create_click_house_database_user, create("late"), 401, "APIGW.0301")


def lock():
    other = connect(("AK", "OTHER"))
    for _ in range(5):
        refused("wrong secret", other.show_click_house_database_user, listing(), 401, "APIGW.0301")
    refused("locked", connect().show_click_house_database_user, listing(), 401, "APIGW.0301")


def throttled():
    client = connect()
    check.equal("first", accounts(client), [ROOT])
    try:
        client.show_click_house_database_user(listing())
    except ServiceResponseException as error:
        # The SDK does not read the body of this status.
        check.equal("second", (error.status_code, error.error_code), (429, "429"))
    else:
        sys.exit("second: not refused")


def envelope():
    client = connect()
    refused("built in", client.create_click_house_database_user, create("root"), 409, os.environ["EXPECTED_CODE"])


def plain():
    for client in (connect(), connect(TEMPORARY_KEYS, security_token="TEMPORARYTOKEN")):
        client.show_click_house_database_user(listing(limit=100, offset=0))
        client.list_click_house_instance(detail())
        client.list_click_house_data_base(ListClickHouseDataBaseRequest(instance_id=INSTANCE, limit=100, offset=0))
        client.create_click_house_database_user(create("compared", databases=["db1", "db2"], dml=1))
        client.update_click_house_database_user_password(set_password("compared"))
        client.update_click_house_database_user_permission(set_permission("compared"))
        client.delete_click_house_database_user(delete("compared"))
    identity().keystone_create_user_token_by_password(login())


scenarios = (everything, clock, lock, throttled, envelope, plain)
{scenario.__name__: scenario for scenario in scenarios}[sys.argv[1]]()
check.finish()

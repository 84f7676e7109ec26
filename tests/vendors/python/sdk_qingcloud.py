"""QingCloud's own SDK as a client of the endpoint in QINGCLOUD_ENDPOINT.

  everything   every emulated action by GET and by POST, refusals included
  clock        a cloud whose clock is two hours ahead refuses the time stamp
  quota        the second call within an hour is one too many
  plain        one request of each kind that the operator sends, for a comparison
"""

import json
import os
import sys
import time
from urllib.parse import urlsplit

from qingcloud.iaas.connection import APIConnection

import check

ZONE, CLUSTER = "sh1a", "cl-ouhutv70"
ENDPOINT = urlsplit(os.environ["QINGCLOUD_ENDPOINT"])
PASSWORD = "Passw0rd@#$%^&*_+-="


def connect(key="KEY", secret="SECRET", zone=ZONE):
    return APIConnection(key, secret, zone, host=ENDPOINT.hostname, port=ENDPOINT.port, protocol="http")


def run(connection, service, parameters, verb, **changes):
    """RunClusterCustomService, for which the SDK has no function of its own."""
    body = {"cluster": CLUSTER, "role": "analysis", "service": service, "service_params": json.dumps(parameters)}
    return connection.send_request("RunClusterCustomService", {**body, **changes}, ENDPOINT.path, verb)


def add(connection, user, verb, **changes):
    parameters = {"user": user, "passwd": PASSWORD, "host": "10.0.0.0/8;::1"}
    return run(connection, "add_ck_user", {**parameters, **changes}, verb)


def remove(connection, user, verb):
    return run(connection, "del_ck_user", {"user": user}, verb)


def nodes(connection):
    """DescribeClusterNodes, for which the SDK has no function either."""
    body = {"cluster": CLUSTER, "role": "analysis", "limit": 100}
    return connection.send_request("DescribeClusterNodes", body, ENDPOINT.path)


def end_of(connection, answer):
    """Status of a job once it has ended."""
    check.equal("accepted", answer["ret_code"], 0)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        rows = connection.describe_jobs(jobs=[answer["job_id"]])["job_set"]
        check.equal("jobs of that id", [row["job_id"] for row in rows], [answer["job_id"]])
        if rows[0]["status"] not in ("pending", "working"):
            return rows[0]["status"]
        time.sleep(0.05)
    sys.exit("the job does not end")


def refused(what, answer, code, word):
    check.equal(what, answer["ret_code"], code)
    check.equal(f"{what}: word", answer["message"].split(",")[0], word)


def everything():
    connection = connect()
    rows = connection.describe_clusters(clusters=[CLUSTER])["cluster_set"]
    check.equal("cluster", [(row["cluster_id"], row["status"]) for row in rows], [(CLUSTER, "active")])
    check.equal("node", [row["private_ip"] for row in nodes(connection)["node_set"]], ["192.168.0.10"])

    for verb in ("GET", "POST"):
        user = f"sdk_{verb.lower()}"
        answer = add(connection, user, verb)
        check.equal("action", answer["action"], "RunClusterCustomServiceResponse")
        check.equal("role", answer["role"], "analysis")
        check.equal("add", end_of(connection, answer), "successful")
        check.equal("add again", end_of(connection, add(connection, user, verb)), "failed")
        check.equal("remove", end_of(connection, remove(connection, user, verb)), "successful")
        check.equal("remove again", end_of(connection, remove(connection, user, verb)), "failed")

        refused("weak password", add(connection, "weak", verb, passwd="password"), 1100, "InvailidRequestFormat")
        refused("reserved name", add(connection, "default", verb), 1100, "InvailidRequestFormat")
        refused("no service", run(connection, None, {}, verb), 1100, "InvailidRequestFormat")
        refused("wrong secret", add(connect(secret="OTHER"), "nobody", verb), 1200, "AuthFailure")
        refused("unknown key", add(connect(key="NOBODY"), "nobody", verb), 1200, "AuthFailure")
        refused("foreign zone", add(connect(zone="pek3a"), "nobody", verb), 1400, "PermissionDenied")
        unknown = run(connection, "add_ck_user", {}, verb, cluster="cl-00000000")
        refused("unknown cluster", unknown, 2100, "ResourceNotFound")
        for unfit in ("cl-stopped1", "cl-updating"):
            answer = run(connection, "del_ck_user", {"user": "nobody"}, verb, cluster=unfit)
            refused(unfit, answer, 1400, "PermissionDenied")
        action = connection.send_request("DeleteClusters", {}, ENDPOINT.path, verb)
        refused("unknown action", action, 1101, "InvailidRequestMethod")

    found = connection.describe_jobs(status=["failed"], job_action="RunClusterCustomService", limit=1, offset=1)
    check.equal("failed jobs", (found["total_count"], len(found["job_set"])), (4, 1))
    first = connection.describe_jobs(status=["successful"])["job_set"][-1]
    directive = json.loads(first["directive"])
    check.equal("repeated password", json.loads(directive["service_params"])["passwd"], PASSWORD)
    unknown = connection.describe_jobs(jobs=["j-00000000"])
    check.equal("unknown job", (unknown["ret_code"], unknown["job_set"]), (0, []))


def clock():
    for verb in ("GET", "POST"):
        refused("time stamp", add(connect(), "late", verb), 1300, "RequestHasExpired")


def quota():
    check.equal("first", connect().describe_clusters()["ret_code"], 0)
    refused("second", connect().describe_clusters(), 2500, "QuotaExceeded")


def plain():
    connection = connect()
    connection.describe_clusters(clusters=[CLUSTER])
    nodes(connection)
    for verb in ("POST", "GET"):
        check.equal("add", end_of(connection, add(connection, "compared", verb)), "successful")
        check.equal("remove", end_of(connection, remove(connection, "compared", verb)), "successful")
    found = connection.describe_jobs(job_action="RunClusterCustomService", offset=0, limit=100)
    check.equal("jobs", found["total_count"], 4)


scenarios = (everything, clock, quota, plain)
{scenario.__name__: scenario for scenario in scenarios}[sys.argv[1]]()
check.finish()

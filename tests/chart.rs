//! The Helm chart, `deploy/` and `crds/`: what they say fits together, and a real API server takes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use control_plane::ControlPlane;
use serde_json::{Value, json};

const CHART: &str = "charts/clickhouse-user-operator";
const NAMESPACE: &str = "clickhouse-user-operator";

/// Values with which the chart is tried, each by a name for messages.
const VARIANTS: [(&str, &str); 6] = [
    ("defaults", ""),
    ("listed namespaces", "watchNamespaces={team-a,team-b}"),
    ("listed namespaces alone", "watchNamespaces={team-a},config.clusterInstances=false"),
    ("without shared instances", "config.clusterInstances=false"),
    ("connection secrets", "config.connectionSecrets=true"),
    (
        "everything set",
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000,replicaCount=2,\
         imagePullSecrets[0].name=registry,watchNamespaces={team-a},config.connectionSecrets=true,\
         config.clusterInstances=true,config.allowedEndpoints={https://api.example.com:8443},config.allowedLoginTargets={10.0.0.0/8:8443},\
         config.drainTimeout=40s,config.driftInterval=5m,config.jobPollInterval=2s,config.jobTimeout=20m,\
         config.retryMin=200ms,config.retryMax=5m,config.callTimeout=20s,config.qingcloudRate=1/s:5,\
         config.huaweicloudRate=10.5/m,config.maxDeletes=10/1h,config.orphanAfter=2h,config.concurrency=8,\
         config.watchTimeout=100s,config.leaseDuration=20s,config.leaseRenewDeadline=12s,config.logFormat=text,\
         config.logLevel=debug,providerCA.configMap=roots,serviceAccount.annotations.team=platform,\
         rbac.aggregateToView=false,metrics.service.annotations.scrape=yes,podAnnotations.a=b,podLabels.c=d,\
         nodeSelector.pool=system,priorityClassName=system-cluster-critical,\
         tolerations[0].key=dedicated,tolerations[0].operator=Exists",
    ),
];

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));

static HELM: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = stdout(Command::new(ROOT.join("hack/tools/build")).arg("helm"));
    PathBuf::from(folder.trim()).join("helm")
});

fn run(command: &mut Command) -> Output {
    command.current_dir(&*ROOT).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// What a command prints, once it has succeeded.
fn stdout(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

fn helm_template(values: &str) -> Command {
    let mut command = Command::new(&*HELM);
    command.args(["template", "chuser", CHART, "--namespace", NAMESPACE, "--set", values]);
    command
}

fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("valid YAML");
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn rendered(values: &str) -> Vec<Value> {
    documents(&stdout(&mut helm_template(values)))
}

fn of_kind<'a>(documents: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    documents.iter().filter(move |document| document["kind"] == kind)
}

fn deployment(values: &str) -> Value {
    of_kind(&rendered(values), "Deployment").next().expect("the chart has a Deployment").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// Every right of the operator's service account, as `where: group/resource[/name] verb`.
fn rights(documents: &[Value]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for role in documents.iter().filter(|document| document["kind"] == "Role" || document["kind"] == "ClusterRole") {
        let name = &role["metadata"]["name"];
        let bound = documents.iter().any(|binding| {
            binding["kind"] == format!("{}Binding", text(&role["kind"]))
                && binding["metadata"]["namespace"] == role["metadata"]["namespace"]
                && binding["roleRef"]["name"] == *name
        });
        if !bound {
            continue;
        }
        let place = role["metadata"]["namespace"].as_str().unwrap_or("everywhere");
        for rule in role["rules"].as_array().expect("a role has rules") {
            let names = match texts(&rule["resourceNames"]) {
                names if names.is_empty() => vec![String::new()],
                names => names.iter().map(|name| format!("/{name}")).collect(),
            };
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for name in &names {
                        for verb in texts(&rule["verbs"]) {
                            rights.insert(format!("{place}: {group}/{resource}{name} {verb}"));
                        }
                    }
                }
            }
        }
    }
    rights
}

/// The same, from lines of `where: group/resource verb verb …`.
fn expected(lines: &[&str]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for line in lines {
        let (target, verbs) = line.split_once("  ").expect("two blanks before the verbs");
        rights.extend(verbs.split_whitespace().map(|verb| format!("{target} {verb}")));
    }
    rights
}

/// What the operator needs in a place that it serves.
fn served(place: &str) -> BTreeSet<String> {
    let lines = [
        "chuser.dev/clickhouseusers  get list watch patch",
        "chuser.dev/clickhouseusers/status  patch",
        "chuser.dev/clickhouseinstances  get list watch patch",
        "chuser.dev/clickhouseinstances/status  patch",
        "/secrets  get list watch",
        "events.k8s.io/events  create patch",
    ];
    let lines: Vec<String> = lines.iter().map(|line| format!("{place}: {line}")).collect();
    expected(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What shared instances need.
fn shared_instances() -> BTreeSet<String> {
    expected(&[
        "everywhere: chuser.dev/clusterclickhouseinstances  get list watch patch",
        "everywhere: chuser.dev/clusterclickhouseinstances/status  patch",
        "everywhere: /namespaces  list watch",
    ])
}

/// What the operator always needs in its own namespace.
fn own_namespace() -> BTreeSet<String> {
    expected(&[
        "clickhouse-user-operator: coordination.k8s.io/leases  create",
        "clickhouse-user-operator: coordination.k8s.io/leases/clickhouse-user-operator  get update",
        "clickhouse-user-operator: /secrets  create",
        "clickhouse-user-operator: /secrets/clickhouse-user-operator-key  get list watch",
    ])
}

/// Relative path and content of every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("cannot list {}: {error}", next.display())) {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read_to_string(&path).expect("a text file");
                found.insert(path.strip_prefix(folder).expect("below the folder").to_owned(), content);
            }
        }
    }
    found
}

#[test]
fn helm_lint_finds_nothing() {
    for (name, values) in VARIANTS {
        let output = run(Command::new(&*HELM).args(["lint", "--strict", CHART, "--set", values]));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_schema_refuses_what_no_template_reads_and_what_the_operator_would_refuse() {
    for (values, named) in [
        ("replicas=2", "replicas"),
        ("config.driftInterva=5m", "driftInterva"),
        ("config.driftInterval=5 minutes", "/config/driftInterval"),
        ("config.drainTimeout=1m", "/config/drainTimeout"),
        ("config.qingcloudRate=fast", "/config/qingcloudRate"),
        ("config.allowedEndpoints={api.example.com}", "/config/allowedEndpoints/0"),
        ("config.allowedEndpoints={https://user@api.example.com}", "/config/allowedEndpoints/0"),
        ("config.clusterInstances=yes", "/config/clusterInstances"),
        ("watchNamespaces={Team_A}", "/watchNamespaces/0"),
        ("crds.instal=false", "instal"),
        ("image.digest=latest", "/image/digest"),
    ] {
        let output = run(&mut helm_template(values));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values} is taken");
        assert!(error.contains(named), "{values}: the message does not name {named}: {error}");
    }
}

#[test]
fn a_parent_chart_may_pass_globals() {
    assert!(!rendered("global.registry=registry.example.com").is_empty());
}

#[test]
fn rights_for_all_namespaces_are_those_the_operator_uses_and_no_more() {
    let needed = &served("everywhere") | &own_namespace();
    assert_eq!(rights(&rendered("config.clusterInstances=false")), needed);
    assert_eq!(rights(&rendered("")), &needed | &shared_instances());
}

#[test]
fn rights_for_listed_namespaces_end_at_these_namespaces() {
    let own = &own_namespace() | &expected(&["clickhouse-user-operator: events.k8s.io/events  create patch"]);
    let alone = &served("team-a") | &own;
    let chart = rendered("watchNamespaces={team-a},config.clusterInstances=false");
    assert_eq!(rights(&chart), alone);
    let bound: Vec<_> = of_kind(&chart, "ClusterRoleBinding").collect();
    assert!(bound.is_empty(), "{bound:?}");

    let credentials = expected(&["clickhouse-user-operator: /secrets  get list watch"]);
    let both = &(&(&alone | &served("team-b")) | &shared_instances()) | &credentials;
    assert_eq!(rights(&rendered("watchNamespaces={team-a,team-b}")), both);
}

#[test]
fn secrets_are_writable_only_where_connection_secrets_are_wanted() {
    let added = expected(&["everywhere: /secrets  create patch delete"]);
    let with = rights(&rendered("config.connectionSecrets=true"));
    assert_eq!(&with - &rights(&rendered("")), added);
}

#[test]
fn no_role_has_a_wildcard() {
    for (name, values) in VARIANTS {
        for role in rendered(values).iter().filter(|document| document["rules"].is_array()) {
            assert!(!role["rules"].to_string().contains('*'), "{name}: {role}");
        }
    }
}

#[test]
fn the_chart_never_renders_the_operators_key() {
    for (_, values) in VARIANTS {
        assert_eq!(of_kind(&rendered(values), "Secret").count(), 0);
    }
}

#[test]
fn the_pod_is_given_more_time_than_it_drains() {
    for (values, seconds) in [("", 35), ("config.drainTimeout=100s", 110)] {
        let grace = &deployment(values)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
        assert_eq!(*grace, seconds, "{values}");
    }
}

#[test]
fn settings_reach_the_operator_under_the_names_of_its_flags() {
    let (_, everything) = VARIANTS[5];
    let deployment = deployment(everything);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let environment: BTreeMap<&str, &str> = container["env"]
        .as_array()
        .expect("the container has variables")
        .iter()
        .filter(|variable| variable["value"].is_string())
        .map(|variable| (text(&variable["name"]), text(&variable["value"])))
        .collect();
    let schema = fs::read_to_string(ROOT.join(CHART).join("values.schema.json")).expect("the chart has a schema");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    for key in schema["properties"]["config"]["properties"].as_object().expect("config has keys").keys() {
        let name: String =
            key.chars().flat_map(|c| c.is_uppercase().then_some('_').into_iter().chain(c.to_uppercase())).collect();
        assert!(environment.contains_key(name.as_str()), "config.{key} is not passed on as {name}");
    }
    assert_eq!(environment["WATCH_NAMESPACES"], "team-a");
    assert_eq!(environment["ALLOWED_ENDPOINTS"], "https://api.example.com:8443");
    assert_eq!(environment["PROVIDER_CA_FILE"], "/etc/clickhouse-user-operator/ca.crt");
    assert_eq!(environment["CONCURRENCY"], "8");
    assert_eq!(environment["CLUSTER_INSTANCES"], "true");

    let help = stdout(Command::new(env!("CARGO_BIN_EXE_clickhouse-user-operator")).args(["run", "--help"]));
    for name in environment.keys() {
        let known = ["=", "]"].iter().any(|end| help.contains(&format!("[env: {name}{end}")));
        assert!(known, "{name} is no setting of `run`");
    }
}

#[test]
fn generated_files_are_current() {
    let fresh = tempfile::tempdir().expect("a temporary folder");
    stdout(
        Command::new(ROOT.join("hack/generate"))
            .arg(fresh.path())
            .env("OPERATOR", env!("CARGO_BIN_EXE_clickhouse-user-operator")),
    );
    for folder in ["crds", CHART] {
        assert_eq!(files(&fresh.path().join(folder)), files(&ROOT.join(folder)), "{folder}: run `make generate`");
    }
    for file in ["deploy/install.yaml", "docs/reasons.md"] {
        let text = |root: &Path| fs::read_to_string(root.join(file)).expect("a readable file");
        assert_eq!(text(fresh.path()), text(&ROOT), "{file}: run `make generate`");
    }
}

#[test]
fn crds_of_the_chart_are_those_in_crds() {
    let mut expected: Vec<Value> = files(&ROOT.join("crds")).values().flat_map(|crd| documents(crd)).collect();
    assert_eq!(expected.len(), 3);
    let chart = rendered("crds.keep=false");
    assert_eq!(of_kind(&chart, "CustomResourceDefinition").cloned().collect::<Vec<_>>(), expected);

    for crd in &mut expected {
        crd["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    }
    let chart = rendered("");
    assert_eq!(of_kind(&chart, "CustomResourceDefinition").cloned().collect::<Vec<_>>(), expected);

    assert_eq!(of_kind(&rendered("crds.install=false"), "CustomResourceDefinition").count(), 0);
}

/// Applies objects as a person with kubectl does; a warning of the API server counts as a refusal.
async fn apply(plane: &ControlPlane, arguments: &[&str], yaml: &str) -> Result<(), String> {
    let arguments = [&["apply", "--server-side", "--warnings-as-errors", "--filename=-"], arguments].concat();
    let output = plane.kubectl_with_input(&arguments, yaml).await.expect("kubectl runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// What kubectl prints, once it has succeeded.
async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl(arguments).await.expect("kubectl runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

async fn wait_for_crds(plane: &ControlPlane) {
    kubectl(plane, &["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"]).await;
}

#[tokio::test]
async fn an_api_server_takes_every_variant_under_restricted_pod_security_without_a_warning() {
    let plane = ControlPlane::start().await.expect("a control plane");
    for namespace in ["restricted", "team-a", "team-b"] {
        kubectl(&plane, &["create", "namespace", namespace]).await;
    }
    kubectl(&plane, &["label", "namespace", "restricted", "pod-security.kubernetes.io/warn=restricted"]).await;
    for (name, values) in VARIANTS {
        let yaml = stdout(helm_template(values).args(["--namespace", "restricted"]));
        apply(&plane, &["--dry-run=server"], &yaml).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    let yaml = stdout(helm_template("").args(["--namespace", "restricted"]));
    let lax = yaml.replace("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true");
    let error = apply(&plane, &["--dry-run=server"], &lax).await.expect_err("the lax pod is warned of");
    assert!(error.contains("allowPrivilegeEscalation"), "{error}");
}

#[tokio::test]
async fn an_api_server_takes_the_installation_and_the_samples_without_a_warning() {
    let plane = ControlPlane::start().await.expect("a control plane");
    let install = fs::read_to_string(ROOT.join("deploy/install.yaml")).expect("a readable file");
    apply(&plane, &[], &install).await.expect("deploy/install.yaml");
    wait_for_crds(&plane).await;

    let samples = files(&ROOT.join("deploy/samples"));
    assert!(samples.len() >= 2);
    for (name, sample) in samples {
        apply(&plane, &[], &sample).await.unwrap_or_else(|error| panic!("{}: {error}", name.display()));
    }
}

#[tokio::test]
async fn helm_installs_and_upgrades_and_leaves_crds_and_users_behind() {
    let plane = ControlPlane::start().await.expect("a control plane");
    let helm = |arguments: &[&str]| {
        stdout(Command::new(&*HELM).args(arguments).env("KUBECONFIG", plane.kubeconfig()));
    };
    let release = ["chuser", CHART, "--namespace", NAMESPACE];
    helm(&[&["install", "--create-namespace"], &release[..]].concat());
    wait_for_crds(&plane).await;
    let sample = fs::read_to_string(ROOT.join("deploy/samples/qingcloud.yaml")).expect("a readable file");
    apply(&plane, &[], &sample).await.expect("the sample");

    helm(&[&["upgrade", "--set", "config.connectionSecrets=true"], &release[..]].concat());
    let deployment = kubectl(&plane, &["get", "deployments", "--namespace", NAMESPACE, "--output=yaml"]).await;
    assert!(deployment.contains("name: CONNECTION_SECRETS\n            value: \"true\""), "{deployment}");

    helm(&["uninstall", "chuser", "--namespace", NAMESPACE]);
    assert_eq!(kubectl(&plane, &["get", "deployments", "--all-namespaces", "--output=name"]).await, "");
    let left = kubectl(&plane, &["get", "clickhouseusers", "--all-namespaces", "--output=name"]).await;
    assert_eq!(left, "clickhouseuser.chuser.dev/reporting\n");
}

//! The CustomResourceDefinitions as a real API server and kubectl see them: what they accept, what they refuse and with
//! which words, and what they show.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clickhouse_user_operator::{
    api::{
        AppliedAccess, AppliedPassword, Binding, ClickHouseInstance, ClickHouseInstanceStatus, ClickHouseUser,
        ClickHouseUserStatus, ClusterClickHouseInstance, Connection, ConnectionTls, CredentialReading, GROUP,
        Operation, OperationKind, OperationPhase, OperationState, Permission, StatusError, VERSION,
        conditions::{LoginOutcome, ReadySummary, Reason, conditions, with_login},
        crds,
    },
    domain::names::{AttemptId, Fingerprint, InstanceKey, JobId, KeyId, Uid, Username},
    provider::contract::ProviderKind,
};
use control_plane::ControlPlane;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::gvk::GroupVersionKind,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The largest definition that client-side apply can still note in an annotation, with room for other annotations.
const SIZE_LIMIT: usize = 200_000;

/// The shared control plane with the definitions installed.
async fn plane() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let plane = control_plane::shared().await;
    INSTALLED.get_or_init(|| install(plane)).await;
    plane
}

async fn install(plane: &ControlPlane) {
    let applied = kubectl(plane, &["apply", "-f", &file("crds").to_string_lossy()]).await;
    assert_eq!(applied.matches(" created").count(), 3, "{applied}");
    kubectl(plane, &["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"]).await;
}

/// Runs kubectl, which must succeed without a word on stderr: the API server's warnings appear there.
async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl(arguments).await.expect("kubectl runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "kubectl {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// One file under `tests/crds/`: its objects, and the words that its first line expects of a refusal.
struct Fixture {
    name: String,
    words: String,
    objects: Vec<Value>,
}

fn fixtures(folder: &str) -> Vec<Fixture> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("the fixture can be read");
        let words = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default().to_owned();
        let parse = |document| serde_saphyr::from_str(document).expect("the fixture is YAML");
        let objects = text.split("\n---\n").map(parse).collect();
        Fixture { name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), words, objects }
    };
    let entries = fs::read_dir(file("tests/crds").join(folder)).expect("the folder of fixtures is there");
    let fixtures: Vec<_> = entries.map(|entry| read(entry.expect("the folder can be read").path())).collect();
    assert!(!fixtures.is_empty());
    fixtures
}

fn api(client: &Client, namespace: &str, object: &Value) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind));
    if kind == "ClusterClickHouseInstance" {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// Asks the API server to create the object without doing it, as `kubectl create --dry-run=server --validate=strict`.
async fn dry_create(client: &Client, namespace: &str, object: &Value) -> Result<Value, kube::Error> {
    let path = api(client, namespace, object).resource_url().to_owned();
    let request = http::Request::post(format!("{path}?dryRun=All&fieldValidation=Strict"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(object.to_string().into_bytes())
        .expect("the request is well-formed");
    client.request(request).await
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        other => other.clone(),
    }
}

/// The spec as the Rust type reads and writes it.
fn through_type(object: &Value) -> Value {
    fn through<K: Serialize + DeserializeOwned>(object: &Value) -> Value {
        let typed: K = serde_json::from_value(object.clone()).expect("what the API server accepts has a Rust value");
        serde_json::to_value(typed).expect("it can be written")["spec"].take()
    }
    match object["kind"].as_str() {
        Some("ClickHouseUser") => through::<ClickHouseUser>(object),
        Some("ClickHouseInstance") => through::<ClickHouseInstance>(object),
        _ => through::<ClusterClickHouseInstance>(object),
    }
}

#[test]
fn the_committed_definitions_are_current() {
    for crd in crds::all() {
        let name = format!("crds/{}.yaml", crd.spec.names.plural);
        let committed = fs::read_to_string(file(&name)).unwrap_or_default();
        assert!(
            committed == crds::to_yaml(&crd),
            "{name} is stale: run `make generate` (it calls `clickhouse-user-operator crds`)"
        );
    }
    let count = fs::read_dir(file("crds")).expect("the folder is there").count();
    assert_eq!(count, 3, "crds/ holds files that no kind accounts for");
}

#[test]
fn yaml_says_what_the_definition_says() {
    for crd in crds::all() {
        let read: Value = serde_saphyr::from_str(&crds::to_yaml(&crd)).expect("it is YAML");
        assert_eq!(read, serde_json::to_value(&crd).expect("it is JSON"));
    }
}

#[test]
fn definitions_fit_into_the_annotation_of_client_side_apply() {
    for crd in crds::all() {
        let size = serde_json::to_string(&crd).expect("it is JSON").len();
        assert!(size < SIZE_LIMIT, "{}: {size} bytes", crd.spec.names.kind);
    }
}

/// Calls `check` with every schema below this one and its path.
fn each_schema(path: &str, schema: &Value, check: &mut impl FnMut(&str, &Value)) {
    check(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        each_schema(&format!("{path}.{name}"), property, check);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[key].is_object() {
            each_schema(&format!("{path}{suffix}"), &schema[key], check);
        }
    }
}

#[test]
fn every_string_list_and_map_is_bounded_and_only_status_has_a_default() {
    for crd in crds::all() {
        let crd = serde_json::to_value(&crd).expect("it is JSON");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut seen = 0;
        each_schema("", schema, &mut |path, schema| {
            seen += 1;
            match schema["type"].as_str() {
                Some("string") => {
                    let bounded = schema["maxLength"].is_u64() || schema["enum"].is_array();
                    assert!(bounded || schema["format"] == "date-time", "{path} has no maxLength");
                }
                Some("array") => {
                    assert!(schema["maxItems"].is_u64(), "{path} has no maxItems");
                    assert!(schema["x-kubernetes-list-type"].is_string(), "{path} has no list type");
                }
                Some("object") if schema["properties"].is_null() => {
                    assert!(schema["maxProperties"].is_u64(), "{path} has no maxProperties");
                }
                Some("object" | "integer" | "boolean") => {}
                other => panic!("{path} has the type {other:?}"),
            }
            let default = if path == ".status" { json!({ "observedGeneration": -1 }) } else { Value::Null };
            assert_eq!(schema["default"], default, "{path}");
        });
        assert!(seen > 40);
    }
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    let plane = plane().await;
    let path = format!("/openapi/v3/apis/{GROUP}/{VERSION}");
    let kinds = ["ClickHouseUser", "ClickHouseInstance", "ClusterClickHouseInstance"];
    let published = async || {
        // The document, which kubectl reads too, follows a new definition after a moment.
        loop {
            let request = http::Request::get(&path).body(Vec::new()).expect("the request is well-formed");
            let document: Value = plane.client().request(request).await.unwrap_or_default();
            let schemas =
                kinds.map(|kind| document["components"]["schemas"][format!("dev.chuser.{VERSION}.{kind}")].clone());
            if schemas.iter().all(Value::is_object) {
                break schemas;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let schemas = tokio::time::timeout(Duration::from_secs(60), published()).await.expect("the document is published");
    for schema in schemas {
        let mut explained = 0;
        each_schema("", &schema, &mut |path, schema| {
            // Values of lists and maps are explained with the list or map; the rest of the object by Kubernetes.
            let anonymous = (path.ends_with("[]") || path.ends_with('*')) && schema["properties"].is_null();
            let ours = path.is_empty() || path.starts_with(".spec") || path.starts_with(".status");
            if anonymous || !ours {
                return;
            }
            explained += 1;
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(text.len() >= 20 && text.trim_end().ends_with('.'), "{path} is explained with {text:?}");
        });
        assert!(explained > 40);
    }
    let explained = kubectl(plane, &["explain", "clickhouseusers.spec.passwordSecretRef.key"]).await;
    assert!(explained.contains("Default: password."), "{explained}");
}

#[tokio::test]
async fn what_is_right_is_accepted_and_nothing_is_added_to_it() {
    let plane = plane().await;
    let (client, namespace) = (plane.client(), plane.namespace("accepted").await.expect("a namespace is made"));
    for fixture in fixtures("accepted") {
        let object = &fixture.objects[0];
        let accepted = dry_create(&client, &namespace, object).await;
        let accepted = accepted.unwrap_or_else(|error| panic!("{} is refused: {error}", fixture.name));
        let spec = without_nulls(&object["spec"]);
        assert_eq!(accepted["spec"], spec, "{}: the API server changed the spec", fixture.name);
        assert_eq!(
            through_type(&accepted),
            spec_as_written_by_rust(&spec),
            "{}: the type loses something",
            fixture.name
        );
        through_type(object);
    }
}

/// Times are written in one form whatever form they were read in.
fn spec_as_written_by_rust(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(time) = spec.get("expiresAt").and_then(Value::as_str) {
        let time: Timestamp = time.parse().expect("a time that the API server accepts can be read");
        spec["expiresAt"] = serde_json::to_value(Time(time)).expect("it can be written");
    }
    spec
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_words_that_name_the_field() {
    let plane = plane().await;
    let (client, namespace) = (plane.client(), plane.namespace("refused").await.expect("a namespace is made"));
    for fixture in fixtures("refused") {
        assert!(!fixture.words.is_empty(), "{} expects no words", fixture.name);
        let error = match dry_create(&client, &namespace, &fixture.objects[0]).await {
            Err(kube::Error::Api(status)) => status.message,
            other => panic!("{} is not refused: {other:?}", fixture.name),
        };
        assert!(error.contains(&fixture.words), "{} is refused with other words: {error}", fixture.name);
    }
}

/// Creates the first object of the fixture and asks for it to be replaced with the second.
async fn update(client: &Client, namespace: &str, fixture: &Fixture) -> Result<DynamicObject, kube::Error> {
    let [old, new] = fixture.objects.as_slice() else { panic!("{} is not a pair", fixture.name) };
    let api = api(client, namespace, old);
    let mut parsed = [old, new].map(|object| {
        let mut object: DynamicObject = serde_json::from_value(object.clone()).expect("it is an object");
        // Cluster-scoped objects of several fixtures stand side by side. The name of a user has a meaning.
        if object.types.as_ref().is_some_and(|types| types.kind != "ClickHouseUser") {
            object.metadata.name = Some(fixture.name.clone());
        }
        object
    });
    let old = api.create(&PostParams::default(), &parsed[0]).await;
    let old = old.unwrap_or_else(|error| panic!("{}: the old object is refused: {error}", fixture.name));
    parsed[1].metadata.resource_version = old.metadata.resource_version;
    let name = parsed[1].metadata.name.clone().unwrap_or_default();
    let replaced = api.replace(&name, &PostParams::default(), &parsed[1]).await;
    api.delete(&name, &DeleteParams::default()).await.expect("the object is deleted");
    replaced
}

#[tokio::test]
async fn updates_that_keep_the_identity_are_accepted() {
    let plane = plane().await;
    let (client, namespace) = (plane.client(), plane.namespace("accepted").await.expect("a namespace is made"));
    for fixture in fixtures("updates/accepted") {
        let replaced = update(&client, &namespace, &fixture).await;
        let replaced = replaced.unwrap_or_else(|error| panic!("{} is refused: {error}", fixture.name));
        assert_eq!(replaced.data["spec"], without_nulls(&fixture.objects[1]["spec"]), "{}", fixture.name);
    }
}

#[tokio::test]
async fn updates_that_change_the_identity_are_refused_with_words_that_name_the_field() {
    let plane = plane().await;
    let (client, namespace) = (plane.client(), plane.namespace("refused").await.expect("a namespace is made"));
    for fixture in fixtures("updates/refused") {
        assert!(!fixture.words.is_empty(), "{} expects no words", fixture.name);
        let error = match update(&client, &namespace, &fixture).await {
            Err(kube::Error::Api(status)) => status.message,
            other => panic!("{} is not refused: {other:?}", fixture.name),
        };
        assert!(error.contains(&fixture.words), "{} is refused with other words: {error}", fixture.name);
    }
}

/// An object of the first accepted fixture of this name.
fn example<K: DeserializeOwned>(name: &str) -> K {
    let fixture = fixtures("accepted").into_iter().find(|fixture| fixture.name == name).expect("the fixture is there");
    serde_json::from_value(fixture.objects[0].clone()).expect("it has the Rust type")
}

/// Writes the whole status by server-side apply, as the operator does, and reads it back.
async fn write_status<K>(api: &Api<K>, name: &str, uid: &str, status: &impl Serialize) -> K
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "uid": uid },
        "status": status,
    });
    let parameters = PatchParams::apply("test").force();
    api.patch_status(name, &parameters, &Patch::Apply(body)).await.expect("the status is accepted")
}

fn time(text: &str) -> Time {
    Time(text.parse().expect("a time"))
}

/// Conditions of every shape that a summary can have.
fn conditions_of(reason: Reason) -> Vec<Condition> {
    let summary = ReadySummary { reason, message: reason.meaning().to_owned() };
    let now = time("2027-01-01T00:00:00Z").0;
    with_login(&conditions(&[], &summary, 1, now), Some((LoginOutcome::Refused, "refused")), 1, now)
}

#[tokio::test]
async fn a_new_object_is_unobserved_and_each_status_of_a_user_comes_back_as_it_was_written() {
    let plane = plane().await;
    let namespace = plane.namespace("status").await.expect("a namespace is made");
    let users: Api<ClickHouseUser> = Api::namespaced(plane.client(), &namespace);
    let created = users.create(&PostParams::default(), &example("user-full")).await.expect("it is accepted");
    users.create(&PostParams::default(), &created_as(&created, "other")).await.expect("it is accepted");

    let unobserved = ClickHouseUserStatus { observed_generation: Some(-1), ..ClickHouseUserStatus::default() };
    let read = users.get("reporting").await.expect("it is there");
    assert_eq!(read.status, Some(unobserved));

    let uid = created.metadata.uid.clone().unwrap_or_default();
    let mut status = ClickHouseUserStatus {
        observed_generation: Some(1),
        uid: Some(Uid::new(&uid)),
        provider: Some(ProviderKind::QingCloud),
        instance_key: Some(InstanceKey::new("qingcloud/sh1a/cl-ouhutv70")),
        username: Some(Username::new("Reporting_2")),
        job_id: Some(JobId::new("j-i0oox8b5t90")),
        operation: Some(Operation {
            id: AttemptId::new("0".repeat(32)),
            kind: OperationKind::Recreate,
            phase: Some(OperationPhase::Removed),
            state: OperationState::Unknown,
            started_at: time("2027-01-01T00:00:00Z"),
            finished_at: Some(time("2027-01-01T00:00:01Z")),
            attempts: 2,
        }),
        error: Some(StatusError { code: Some("1400".to_owned()), message: "busy".to_owned(), retryable: true }),
        applied: Some(AppliedAccess {
            allowed_hosts: Some(["10.0.0.0/8".to_owned(), "::/0".to_owned()].into()),
            databases: Some(["*".to_owned()].into()),
            permission: Some(Permission::ReadOnly),
        }),
        password: Some(AppliedPassword {
            secret_name: Some("reporting-password".to_owned()),
            secret_uid: Some(Uid::new(&uid)),
            secret_resource_version: Some("1234".to_owned()),
            revision: Some("2027-01".to_owned()),
            key_id: KeyId::new("k1"),
            fingerprint: Fingerprint::new("f".repeat(64)),
            applied_at: Some(time("2027-01-01T00:00:00Z")),
            verified_at: Some(time("2027-01-01T00:00:00Z")),
        }),
        binding: Some(Binding { name: "reporting-clickhouse".to_owned() }),
        last_handled_reconcile_at: Some("now".to_owned()),
        conditions: Vec::new(),
    };
    for &reason in Reason::ALL.iter().filter(|reason| reason.subject().includes_users()) {
        status.conditions = conditions_of(reason);
        let written = write_status(&users, "reporting", &uid, &status).await;
        assert_eq!(written.status.as_ref(), Some(&status), "{reason:?}");
    }

    let table = kubectl(plane, &["get", "chu", "--namespace", &namespace]).await;
    assert_eq!(header(&table), ["NAME", "READY", "REASON", "USERNAME", "INSTANCE", "AGE"]);
    let table = kubectl(plane, &["get", "chu", "--namespace", &namespace, "--output", "wide"]).await;
    let wide = ["NAME", "READY", "REASON", "USERNAME", "INSTANCE", "AGE", "PROVIDER", "JOB", "MESSAGE"];
    assert_eq!(header(&table), wide);
    for shown in
        ["False", "Expired", "Reporting_2", "warehouse", "QingCloud", "j-i0oox8b5t90", Reason::Expired.meaning()]
    {
        assert!(table.contains(shown), "{shown} is not in\n{table}");
    }

    let by_instance = ["get", "chu", "--namespace", &namespace, "--output=name", "--field-selector"];
    let selected = kubectl(plane, &[&by_instance[..], &["spec.instanceRef.name=warehouse"]].concat()).await;
    assert_eq!(selected.lines().count(), 1, "{selected}");
    let category = kubectl(plane, &["get", "clickhouse", "--namespace", &namespace, "--output=name"]).await;
    assert_eq!(category.matches("clickhouseuser.chuser.dev/").count(), 2, "{category}");
}

/// The same user under another name and on another instance.
fn created_as(user: &ClickHouseUser, name: &str) -> ClickHouseUser {
    let mut other = ClickHouseUser::new(name, user.spec.clone());
    "elsewhere".clone_into(&mut other.spec.instance_ref.name);
    other
}

fn header(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split_whitespace().collect()
}

#[tokio::test]
async fn each_status_of_an_instance_comes_back_as_it_was_written() {
    let plane = plane().await;
    let namespace = plane.namespace("status").await.expect("a namespace is made");
    let instances: Api<ClickHouseInstance> = Api::namespaced(plane.client(), &namespace);
    let shared: Api<ClusterClickHouseInstance> = Api::all(plane.client());
    let post = PostParams::default();
    let instance = instances.create(&post, &example("qingcloud-full")).await.expect("it is accepted");
    let shared_instance = shared.create(&post, &example("shared-full")).await.expect("it is accepted");
    let unobserved = ClickHouseInstanceStatus { observed_generation: Some(-1), ..ClickHouseInstanceStatus::default() };
    assert_eq!(instances.get("warehouse").await.expect("it is there").status.as_ref(), Some(&unobserved));
    assert_eq!(shared.get("shared-warehouse").await.expect("it is there").status.as_ref(), Some(&unobserved));

    let mut status = ClickHouseInstanceStatus {
        observed_generation: Some(1),
        provider: Some(ProviderKind::HuaweiCloud),
        instance_key: Some(InstanceKey::new(format!(
            "huaweicloud/cn-north-4/{}/{}in16",
            "a".repeat(32),
            "b".repeat(32)
        ))),
        endpoint: Some("https://gaussdb.cn-north-4.myhuaweicloud.com".to_owned()),
        credential: Some(CredentialReading {
            digest: "d".repeat(64),
            key_id: KeyId::new("k1"),
            read_at: time("2027-01-01T00:00:00Z"),
        }),
        users: Some(12),
        connection: Some(Connection {
            host: Some("192.168.1.10".to_owned()),
            port: Some(65535),
            http_port: Some(1),
            tls: Some(ConnectionTls::Required),
        }),
        conditions: Vec::new(),
    };
    let (uid, shared_uid) =
        (instance.metadata.uid.unwrap_or_default(), shared_instance.metadata.uid.unwrap_or_default());
    for &reason in Reason::ALL.iter().filter(|reason| reason.subject().includes_instances()) {
        status.conditions = conditions_of(reason);
        let written = write_status(&instances, "warehouse", &uid, &status).await;
        assert_eq!(written.status.as_ref(), Some(&status), "{reason:?}");
        let written = write_status(&shared, "shared-warehouse", &shared_uid, &status).await;
        assert_eq!(written.status.as_ref(), Some(&status), "{reason:?}");
    }

    let columns = ["NAME", "READY", "REASON", "PROVIDER", "USERS", "AGE"];
    for short_name in ["chinst", "cchinst"] {
        let table = kubectl(plane, &["get", short_name, "--namespace", &namespace]).await;
        assert_eq!(header(&table), columns);
        let table = kubectl(plane, &["get", short_name, "--namespace", &namespace, "--output", "wide"]).await;
        assert_eq!(header(&table), [&columns[..], &["KEY", "MESSAGE"]].concat());
        assert!(table.contains("huaweicloud/cn-north-4/"), "{table}");
    }
    shared.delete("shared-warehouse", &DeleteParams::default()).await.expect("it is deleted");
}

//! What a control plane offers to tests.

use control_plane::{AuditEvent, ControlPlane, client, shared};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{ListParams, ObjectMeta, PostParams, WatchParams};
use kube::{Api, Error};

fn named<K: kube::Resource + Default>(name: &str) -> K {
    let mut object = K::default();
    *object.meta_mut() = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    object
}

async fn namespace(plane: &ControlPlane) -> String {
    plane.namespace("serves").await.expect("a namespace")
}

/// A client of a ServiceAccount that nobody has given any right.
async fn unprivileged(plane: &ControlPlane, namespace: &str) -> kube::Client {
    let accounts = Api::namespaced(plane.client(), namespace);
    accounts.create(&PostParams::default(), &named::<ServiceAccount>("nobody")).await.expect("a ServiceAccount");
    let kubeconfig = plane.service_account_kubeconfig(namespace, "nobody").await.expect("a kubeconfig");
    client(&kubeconfig).await.expect("a client")
}

async fn since(plane: &ControlPlane, mark: control_plane::AuditMark, user: &str) -> Vec<AuditEvent> {
    let events = plane.audit_since(mark).await.expect("the audit log");
    events.into_iter().filter(|event| event.user == user).collect()
}

#[tokio::test]
async fn the_administrator_may_do_everything() {
    let plane = shared().await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace(plane).await);
    maps.create(&PostParams::default(), &named("one")).await.expect("it is created");
    assert_eq!(maps.list(&ListParams::default()).await.expect("it is listed").items.len(), 1);
}

#[tokio::test]
async fn namespaces_of_tests_differ() {
    let plane = shared().await;
    assert_ne!(namespace(plane).await, namespace(plane).await);
}

#[tokio::test]
async fn a_service_account_without_rights_is_refused() {
    let plane = shared().await;
    let namespace = namespace(plane).await;
    let nobody = unprivileged(plane, &namespace).await;
    let maps: Api<ConfigMap> = Api::namespaced(nobody, &namespace);
    let error = maps.list(&ListParams::default()).await.expect_err("RBAC refuses");
    assert!(matches!(&error, Error::Api(status) if status.code == 403), "{error}");
}

#[tokio::test]
async fn a_token_of_an_absent_service_account_is_an_error() {
    let plane = shared().await;
    let error = plane.service_account_kubeconfig(&namespace(plane).await, "absent").await.expect_err("there is none");
    assert!(error.to_string().contains("absent"), "{error}");
}

#[tokio::test]
async fn the_audit_log_names_user_request_and_answer() {
    let plane = shared().await;
    let namespace = namespace(plane).await;
    let nobody = unprivileged(plane, &namespace).await;
    let maps: Api<ConfigMap> = Api::namespaced(nobody, &namespace);

    let mark = plane.audit_mark().await.expect("a mark");
    maps.get("one").await.expect_err("RBAC refuses");
    let user = format!("system:serviceaccount:{namespace}:nobody");
    let logged = since(plane, mark, &user).await;
    let [found] = &logged[..] else { panic!("one request: {logged:?}") };
    assert!(found.received_at <= found.answered_at);
    let event = AuditEvent {
        verb: "get".to_owned(),
        user: user.clone(),
        group: String::new(),
        resource: "configmaps".to_owned(),
        subresource: String::new(),
        namespace: namespace.clone(),
        name: "one".to_owned(),
        code: 403,
        request_uri: format!("/api/v1/namespaces/{namespace}/configmaps/one"),
        stage: "ResponseComplete".to_owned(),
        received_at: found.received_at,
        answered_at: found.answered_at,
        response: None,
    };
    assert_eq!(*found, event);

    let mark = plane.audit_mark().await.expect("a mark");
    assert_eq!(since(plane, mark, &user).await, []);
    assert!(plane.audit().await.expect("the audit log").iter().any(|event| event.user == user));
}

#[tokio::test]
async fn the_audit_log_misses_nothing_of_many_requests_at_once() {
    let plane = shared().await;
    let namespace = namespace(plane).await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let mark = plane.audit_mark().await.expect("a mark");
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..100 {
        let maps = maps.clone();
        requests.spawn(async move { maps.create(&PostParams::default(), &named(&format!("map-{number}"))).await });
    }
    for result in requests.join_all().await {
        result.expect("it is created");
    }
    let events = plane.audit_since(mark).await.expect("the audit log");
    let created = events.iter().filter(|event| event.namespace == namespace && event.verb == "create");
    assert_eq!(created.count(), 100);
}

#[tokio::test]
async fn a_watch_is_in_the_audit_log_once_while_it_runs_and_after() {
    let plane = shared().await;
    let namespace = namespace(plane).await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let mark = plane.audit_mark().await.expect("a mark");
    let watches = async || {
        let events = plane.audit_since(mark).await.expect("the audit log");
        events.into_iter().filter(|event| event.verb == "watch" && event.namespace == namespace).count()
    };
    let watch = maps.watch(&WatchParams::default(), "0").await.expect("the watch begins");
    assert_eq!(watches().await, 1);
    drop(watch);
    assert_eq!(watches().await, 1);
}

#[tokio::test]
async fn kubectl_is_the_administrator() {
    let plane = shared().await;
    let namespace = namespace(plane).await;
    let manifest = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-kubectl"}}"#;
    let apply = ["apply", "--namespace", &namespace, "--filename", "-"];
    let output = plane.kubectl_with_input(&apply, manifest).await.expect("kubectl runs");
    assert!(output.status.success(), "{output:?}");

    let output = plane.kubectl(&["get", "configmap", "by-kubectl", "--namespace", &namespace]).await;
    assert!(output.expect("kubectl runs").status.success());
    let output = plane.kubectl(&["get", "configmap", "absent", "--namespace", &namespace]).await;
    assert!(!output.expect("kubectl runs").status.success());
}

#[tokio::test]
async fn tasks_share_a_control_plane() {
    let plane = tokio::spawn(shared()).await.expect("no panic");
    let mark = tokio::spawn(plane.audit_mark()).await.expect("no panic").expect("a mark");
    let name = tokio::spawn(plane.namespace("serves")).await.expect("no panic").expect("a namespace");
    let events = tokio::spawn(plane.audit_since(mark)).await.expect("no panic").expect("the audit log");
    assert!(events.iter().any(|event| event.verb == "create" && event.resource == "namespaces"), "{name}: {events:?}");
}

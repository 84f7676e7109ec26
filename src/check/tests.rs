use super::*;
use crate::{api::fields, provider::contract::ProviderKind};

const USER: &str = "\
apiVersion: chuser.dev/v1alpha1
kind: ClickHouseUser
metadata: {name: reporting}
spec:
  instanceRef: {name: warehouse}
  passwordSecretRef: {name: reporting-password}
";
const QINGCLOUD: &str = "\
apiVersion: chuser.dev/v1alpha1
kind: ClickHouseInstance
metadata: {name: warehouse}
spec:
  qingcloud: {zone: sh1a, clusterID: cl-ouhutv70, credentialsSecretRef: {name: api}}
";
const HUAWEICLOUD: &str = "\
apiVersion: chuser.dev/v1alpha1
kind: ClickHouseInstance
metadata: {name: warehouse}
spec:
  huaweicloud:
    region: cn-north-4
    projectID: 23a50154cf494ec9ad6883979a12db0a
    instanceID: df3ae779e2ad4993a03ccd7a81240125in16
    credentialsSecretRef: {name: api}
";

fn settings() -> Settings {
    Settings {
        paths: Vec::new(),
        namespace: "default".to_owned(),
        operator_namespace: "operator".to_owned(),
        allowed_endpoints: None,
    }
}

fn checked_with(settings: &Settings, files: &[(&str, &str)]) -> Report {
    let source = |(name, text): &(&str, &str)| Ok(Source { name: (*name).to_owned(), text: (*text).to_owned() });
    check(files.iter().map(source).collect(), settings)
}

/// What is said of one file with these documents, notes included.
fn told(documents: &[&str]) -> Vec<String> {
    let report = checked_with(&settings(), &[("f", &documents.join("---\n"))]);
    assert_eq!(report.unreadable, [""; 0]);
    report.findings.iter().map(ToString::to_string).collect()
}

/// The same without notes.
fn findings(documents: &[&str]) -> Vec<String> {
    told(documents).into_iter().filter(|text| !text.contains(": note: ")).collect()
}

#[test]
fn right_objects_give_no_finding_on_either_cloud() {
    let user = format!("{USER}  allowedHosts: [10.0.0.0/8]\n");
    assert_eq!(told(&[QINGCLOUD, &user]), [""; 0]);
    let user = format!("{USER}  databases: [sales]\n  permission: ReadOnly\n");
    assert_eq!(told(&[HUAWEICLOUD, &user]), [""; 0]);
}

#[test]
fn findings_name_file_line_object_field_and_mend_in_the_order_of_lines() {
    let user = format!("# A comment\n---\n\n{USER}  permission: All\n  databases:\n  - a\n  - a\n  color: red\n");
    assert_eq!(
        findings(&[&user]),
        [
            "f:10: ClickHouseUser/reporting: spec.permission: must be one of ReadOnly, ReadAndConfigure",
            "f:13: ClickHouseUser/reporting: spec.databases[1]: is there twice; remove one",
            "f:14: ClickHouseUser/reporting: spec.color: unknown field; remove it, or correct its name",
        ]
    );
}

#[test]
fn what_is_left_out_is_told_at_the_line_around_it() {
    let user =
        "\napiVersion: chuser.dev/v1alpha1\nkind: ClickHouseUser\nmetadata: {name: reporting}\nspec:\n  username: a1\n";
    let lines = findings(&[user]);
    assert_eq!(lines[0], "f:5: ClickHouseUser/reporting: spec.instanceRef: is required");
    assert_eq!(lines[1], "f:5: ClickHouseUser/reporting: spec.passwordSecretRef: is required");
}

#[test]
fn anchors_merges_and_lists_of_objects_are_followed() {
    let list = "\
apiVersion: v1
kind: List
items:
- apiVersion: chuser.dev/v1alpha1
  kind: ClickHouseUser
  metadata: {name: one}
  spec: &spec
    instanceRef: {name: warehouse}
    passwordSecretRef: {name: p}
    deletionPolicy: Orphan
- apiVersion: chuser.dev/v1alpha1
  kind: ClickHouseUser
  metadata: {name: two}
  spec:
    <<: *spec
    suspend: true
";
    let policy = "spec.deletionPolicy: must be one of Delete, Retain";
    assert_eq!(
        findings(&[list]),
        [format!("f:10: ClickHouseUser/one: {policy}"), format!("f:15: ClickHouseUser/two: {policy}")]
    );
}

#[test]
fn json_is_read_like_yaml() {
    let json = "{\n\t\"apiVersion\": \"chuser.dev/v1alpha1\",\n\t\"kind\": \"ClickHouseInstance\",\n\
                \t\"metadata\": {\"name\": \"w\"},\n\t\"spec\": {\n\t\t\"connection\": {\"port\": 0}\n\t}\n}\n";
    let lines = findings(&[json]);
    assert!(
        lines.contains(&"f:6: ClickHouseInstance/w: spec.connection.port: must be at least 1".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn words_that_yaml_takes_for_something_else_are_told_so() {
    let instance = HUAWEICLOUD.replace("23a50154cf494ec9ad6883979a12db0a", "11111111111111111111111111111111");
    let lines = findings(&[&instance]);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].ends_with(
            "spec.huaweicloud.projectID: must be a string, not a number (quote it where the digits are meant)"
        )
    );
    let lines = findings(&[&format!("{USER}  username: yes\n")]);
    assert!(lines[0].contains("not a boolean"), "{lines:?}");
}

#[test]
fn other_objects_and_empty_documents_are_passed_over() {
    let report = checked_with(
        &settings(),
        &[("f", "---\n# Source: chart\n---\napiVersion: v1\nkind: ConfigMap\ndata: {a: 1}\n---\n- 1\n---\ntext\n")],
    );
    assert_eq!((report.checked, report.exit_code(), report.findings.len()), (0, 0, 0));
}

#[test]
fn other_version_or_kind_of_the_group_is_a_finding() {
    let lines = findings(&[&USER.replace("v1alpha1", "v1"), &USER.replace("ClickHouseUser", "ClickhouseUser")]);
    assert_eq!(lines[0], "f:1: ClickHouseUser/reporting: apiVersion: must be chuser.dev/v1alpha1");
    assert!(lines[1].starts_with("f:9: ClickhouseUser/reporting: kind: chuser.dev has the kinds"), "{lines:?}");
}

#[test]
fn rules_of_the_named_cloud_hold_and_all_of_them_are_told() {
    let user = format!("{USER}  username: Reporting_\n  allowedHosts: [10.0.0.0/8]\n");
    let lines = findings(&[HUAWEICLOUD, &user]);
    let fields = ["spec.databases: is required", "spec.username: ", "spec.allowedHosts: Huawei Cloud keeps no"];
    assert_eq!(lines.len(), fields.len(), "{lines:?}");
    for (line, field) in lines.iter().zip(fields) {
        assert!(line.contains(field), "{line}");
    }
    let user = format!("{USER}  databases: [a]\n  permission: ReadOnly\n  allowedHosts: [10.1.2.3/8]\n");
    let lines = findings(&[QINGCLOUD, &user]);
    let fields =
        ["spec.databases: QingCloud", "spec.permission: QingCloud", "spec.allowedHosts: \"10.1.2.3/8\" has bits"];
    assert_eq!(lines.len(), fields.len(), "{lines:?}");
    for (line, field) in lines.iter().zip(fields) {
        assert!(line.contains(field), "{line}");
    }
}

#[test]
fn field_that_a_cloud_lacks_is_the_one_finding_and_one_that_it_has_is_none() {
    for (cloud, field, held) in fields::on_each_cloud() {
        let (instance, required) = match cloud {
            ProviderKind::QingCloud => (QINGCLOUD, "allowedHosts: [10.0.0.0/8]"),
            ProviderKind::HuaweiCloud => (HUAWEICLOUD, "databases: [reports]"),
        };
        let required = if required.starts_with(field.name) { "" } else { required };
        let lines = findings(&[instance, &format!("{USER}  {required}\n  {}: {}\n", field.name, field.value)]);
        assert_eq!(lines.len(), usize::from(!held), "{} on {cloud}: {lines:?}", field.name);
        let named = format!(": ClickHouseUser/reporting: spec.{}: ", field.name);
        assert!(lines.iter().all(|line| line.contains(&named)), "{} on {cloud}: {lines:?}", field.name);
    }
}

#[test]
fn instance_counts_in_its_own_namespace_and_its_absence_is_noted() {
    let elsewhere = QINGCLOUD.replace("{name: warehouse}", "{name: warehouse, namespace: other}");
    let lines = told(&[&elsewhere, USER]);
    assert_eq!(
        lines,
        [
            "f:11: note: ClickHouseUser/reporting: spec.instanceRef: no usable instance of this name is among the files; \
          the rules of its cloud are not checked"
        ]
    );
    let report = checked_with(&settings(), &[("f", USER)]);
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn instance_of_the_same_file_goes_before_one_of_another() {
    let user = format!("{USER}  databases: [a]\n");
    let both = format!("{HUAWEICLOUD}---\n{user}");
    assert_eq!(checked_with(&settings(), &[("a", QINGCLOUD), ("b", &both)]).broken(), 0);
    assert_ne!(checked_with(&settings(), &[("a", QINGCLOUD), ("b", &user)]).broken(), 0);
}

#[test]
fn password_is_judged_where_its_secret_is_there_and_never_shown() {
    let user = format!("{USER}  allowedHosts: [10.0.0.0/8]\n");
    let secret =
        |fields: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: reporting-password}}\n{fields}");
    for (fields, expected) in [
        ("stringData:\n  password: hunter2\n", "f:19: Secret/reporting-password: stringData.password: as the password"),
        ("data:\n  password: aHVudGVyMg==\n", "f:19: Secret/reporting-password: data.password: as the password"),
        ("data:\n  password: '%hunter2%'\n", "data.password: must be text in base64"),
        ("data: {password: /w==}\n", "it is not text"),
        ("stringData: {password: ''}\n", "it is empty"),
        (
            "stringData: {passwort: hunter2}\n",
            "data: as the password of ClickHouseUser/reporting: there is no key password",
        ),
    ] {
        let lines = findings(&[QINGCLOUD, &user, &secret(fields)]);
        assert_eq!(lines.len(), 1, "{fields}: {lines:?}");
        assert!(lines[0].contains(expected), "{lines:?}");
        assert!(!lines[0].contains("hunter2") && !lines[0].contains("aHVudGVyMg"), "{lines:?}");
    }
    // stringData goes before data, as at the API server.
    let right = secret("data: {password: aHVudGVyMg==}\nstringData: {password: Passw0rd-1}\n");
    assert_eq!(findings(&[QINGCLOUD, &user, &right]), [""; 0]);
}

#[test]
fn credentials_are_judged_where_their_secret_is_there() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: api, namespace: operator}\n\
                  stringData: {accessKeyID: a, secretAccessKey: ''}\n";
    let shared = QINGCLOUD.replace("ClickHouseInstance", "ClusterClickHouseInstance");
    let lines = findings(&[&shared, secret]);
    assert_eq!(
        lines,
        ["f:7: Secret/api: data: as credentials of ClusterClickHouseInstance/warehouse: key secretAccessKey \
          (an API key of QingCloud) is missing"]
    );
    assert_eq!(findings(&[QINGCLOUD, secret]), [""; 0], "that Secret is in another namespace");
}

#[test]
fn endpoint_override_is_noted_or_held_to_what_is_allowed() {
    let instance = QINGCLOUD.replace("zone: sh1a,", "zone: sh1a, endpoint: 'https://api.example/iaas/',");
    let note = "f:5: note: ClickHouseInstance/warehouse: spec.qingcloud.endpoint: the operator must be started with \
                https://api.example in --allowed-endpoints";
    assert_eq!(told(&[&instance]), [note]);
    let allowing = |origin: &str| {
        let allowed = HashSet::from([origin.parse().expect("an origin")]);
        checked_with(&Settings { allowed_endpoints: Some(allowed), ..settings() }, &[("f", &instance)])
    };
    assert_eq!(allowing("https://api.example").findings, []);
    let refused = allowing("https://other.example");
    assert_eq!(refused.exit_code(), 1);
    let line = refused.findings[0].to_string();
    assert!(line.contains("spec.qingcloud.endpoint: https://api.example is not allowed"), "{line}");
}

#[test]
fn endpoint_with_a_password_is_a_finding_that_does_not_repeat_it() {
    let instance = QINGCLOUD.replace("zone: sh1a,", "zone: sh1a, endpoint: 'https://me:hunter2@api.example/',");
    let lines = told(&[&instance]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("spec.qingcloud.endpoint: must match") && !lines[0].contains("hunter2"), "{lines:?}");
}

#[test]
fn metadata_that_kubernetes_refuses_is_a_finding() {
    for (metadata, expected) in [
        ("{}", "metadata.name: is required"),
        ("{name: My_App}", "metadata.name: must be lower-case"),
        ("{name: reporting, lables: {a: b}}", "metadata.lables: unknown field"),
        ("{name: reporting, labels: {a: 1}}", "metadata.labels: is of the wrong type"),
        ("[]", "metadata: must be a map"),
    ] {
        let lines = findings(&[&USER.replace("{name: reporting}", metadata)]);
        assert!(lines.iter().any(|line| line.contains(expected)), "{metadata}: {lines:?}");
    }
    let shared = QINGCLOUD.replace("ClickHouseInstance", "ClusterClickHouseInstance");
    let shared = shared.replace("{name: warehouse}", "{name: warehouse, namespace: a}");
    assert!(findings(&[&shared])[0].contains("metadata.namespace: this kind has no namespace"));
    assert_eq!(
        findings(&[&USER.replace("{name: reporting}", "{name: reporting, labels: {}, annotations: {a: b}}")]),
        [""; 0]
    );
}

#[test]
fn file_that_is_no_yaml_is_named_with_its_line_and_not_quoted() {
    for (text, line) in [
        ("a: b\nc: [hunter2\n", 3),
        ("a: *hunter2\n", 1),
        ("a: hunter2\na: hunter2\n", 2),
        ("{{ hunter2 }}: a\n\tb", 1),
    ] {
        let report = checked_with(&settings(), &[("f", text), ("g", &USER.replace("reporting}", "My_App}"))]);
        assert_eq!(report.exit_code(), 2, "{text}");
        assert_eq!(report.broken(), 1, "the other file is checked all the same: {:?}", report.findings);
        assert_eq!(report.unreadable.len(), 1);
        let told = &report.unreadable[0];
        assert!(told.starts_with(&format!("f:{line}: ")) || line == 3 && told.starts_with("f:"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let lines = findings(&[&USER.replace("{name: reporting}", "{name: \"a\\e[31mb\"}")]);
    assert!(!lines.is_empty() && lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:?}");
}

/// A shared instance with these further lines of spec.
fn shared(lines: &str) -> String {
    HUAWEICLOUD.replace("kind: ClickHouseInstance", "kind: ClusterClickHouseInstance") + lines
}

/// A user of the shared instance, by name and with these further lines of spec.
fn sharing(name: &str, lines: &str) -> String {
    let user = USER.replace("{name: reporting}", &format!("{{name: {name}}}"));
    user.replace("instanceRef: {", "instanceRef: {kind: ClusterClickHouseInstance, ") + lines
}

const NAMED: &str = "  allowedNamespaces: {names: [default]}\n";

#[test]
fn namespace_that_a_shared_instance_does_not_admit_is_a_finding() {
    let user = sharing("reporting", "  databases: [sales]\n");
    assert_eq!(findings(&[&shared(NAMED), &user]), [""; 0]);
    for nobody in ["", "  allowedNamespaces: {names: [other]}\n"] {
        let [finding] = &findings(&[&shared(nobody), &user])[..] else { panic!("{nobody}") };
        assert!(finding.contains("spec.instanceRef: Namespace default may not use"), "{finding}");
    }
}

#[test]
fn labels_of_a_namespace_among_the_files_admit_it_and_without_it_that_is_noted() {
    let shared = shared("  allowedNamespaces: {selector: {matchLabels: {tier: gold}}}\n");
    let user = sharing("reporting", "  databases: [sales]\n");
    let namespace = |tier: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {{tier: {tier}}}}}\n")
    };
    assert_eq!(told(&[&shared, &user, &namespace("gold")]), [""; 0]);
    assert_eq!(findings(&[&shared, &user, &namespace("silver")]).len(), 1);
    let [note] = &told(&[&shared, &user])[..] else { panic!("one note") };
    assert!(note.contains("note: ") && note.contains("Namespace default is not among the files"), "{note}");
}

#[test]
fn ceilings_are_held_by_the_operators_own_rules() {
    let shared = |ceilings: &str| shared(&format!("{NAMED}  ceilings: {{{ceilings}}}\n"));
    let user = sharing("reporting", "  databases: [sales]\n  adoptionPolicy: Adopt\n");
    for (ceilings, field) in [
        ("usernamePattern: 'team_.*', adoption: Adopt", "spec.username"),
        ("databases: [ads], adoption: Adopt", "spec.databases"),
        ("databases: [sales]", "spec.adoptionPolicy"),
    ] {
        let [finding] = &findings(&[&shared(ceilings), &user])[..] else { panic!("{ceilings}") };
        assert!(finding.contains(&format!("{field}: ")) && finding.contains("ceiling of"), "{finding}");
    }
    assert_eq!(findings(&[&shared("databases: [sales], adoption: Adopt"), &user]), [""; 0]);
    for (ceilings, field) in
        [("usernamePattern: '('", "spec.ceilings.usernamePattern"), ("allowedHosts: [10.0.0.0/8]", "allowedHosts")]
    {
        let [finding] = &findings(&[&shared(ceilings)])[..] else { panic!("{ceilings}") };
        assert!(finding.contains("ClusterClickHouseInstance/warehouse") && finding.contains(field), "{finding}");
    }
}

#[test]
fn users_beyond_the_number_for_a_namespace_are_findings() {
    let shared = shared(&format!("{NAMED}  ceilings: {{usersPerNamespace: 1}}\n"));
    let users = ["first", "second"].map(|name| sharing(name, "  databases: [sales]\n"));
    let [finding] = &findings(&[&shared, &users[0], &users[1]])[..] else { panic!("one finding") };
    assert!(finding.contains("ClickHouseUser/second") && finding.contains("serves 1 users"), "{finding}");
}

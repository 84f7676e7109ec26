//! Whatever Huawei Cloud, its gateway, its identity service, or who stands in their place, answers to any call.
#![no_main]

use clickhouse_user_operator::{
    domain::secret::SecretText,
    provider::{
        contract::{Cloud, NewAccount, ProviderKind},
        huaweicloud::{Client, Credentials, Endpoint, Instance},
    },
};
use fuzz::{
    PASSWORD, SECRET_KEY, Script, access, http, in_bounds, json, judge, names, now, plant, presentable, shows_no_secret,
};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;

fuzz_target!(|input: &[u8]| -> Corpus {
    // Made ahead of the measured part: the first one loads the TLS roots.
    let (by_keys, by_login) = (instance(keys()), instance(login()));
    in_bounds(input.len(), || match plant(input) {
        Some(script) => match script.call.strip_prefix("login ") {
            Some(call) => run(&by_login, &script, call, 1),
            None => run(&by_keys, &script, &script.call, 0),
        },
        None => Corpus::Reject,
    })
});

fn keys() -> Credentials {
    Credentials::AccessKey {
        access_key_id: SecretText::new("HWKEY"),
        secret_access_key: SecretText::new(SECRET_KEY),
        security_token: None,
    }
}

fn login() -> Credentials {
    Credentials::Password {
        domain_name: SecretText::new("domain"),
        user_name: SecretText::new("user"),
        password: SecretText::new(SECRET_KEY),
    }
}

fn instance(credentials: Credentials) -> Instance {
    let endpoint = || Endpoint {
        http: http(ProviderKind::HuaweiCloud).into(),
        origin: "https://cloud.example/".parse().expect("a URL"),
    };
    let client = Client::new(endpoint(), endpoint(), credentials, "cn-north-4");
    let [project, id, taurus] = ["", "in16", "in07"].map(|end| format!("{:0>32}{end}", 0));
    Instance::new(client.into(), project, id, Some(taurus))
}

/// `first` is the place of the first answer that is not one to a login.
fn run(instance: &Instance, script: &Script, call: &str, first: usize) -> Corpus {
    let (attempt, username, password) = names();
    // A refused token may be replaced once, and the call made anew.
    let answers = || script.answers.iter().skip(first).take(1 + 2 * first);
    let succeeded = || {
        answers().any(|(status, body)| status.is_success() && json(body).is_some_and(|it| it["result"] == "SUCCESS"))
    };
    let logged_in = || {
        first == 0
            || script.answers.iter().any(|(status, body)| {
                status.is_success() && json(body).is_some_and(|it| it["token"]["expires_at"].is_string())
            })
    };
    match call {
        "create" => {
            let account = NewAccount { username: &username, password: &password, access: &access() };
            judge(&now(instance.create(&attempt, account)), succeeded() && logged_in());
        }
        "password" => {
            let password = SecretText::new(PASSWORD);
            judge(&now(instance.set_password(&attempt, &username, &password)), succeeded() && logged_in());
        }
        "access" => judge(&now(instance.set_access(&attempt, &username, &access())), succeeded() && logged_in()),
        "delete" => {
            let missing = answers().any(|(_, body)| contains(body, "DBS.200824"));
            judge(&now(instance.delete(&attempt, &username)), (succeeded() || missing) && logged_in());
        }
        "read" => match now(instance.read_instance()) {
            Ok(reading) => {
                for account in reading.accounts.iter().flatten() {
                    let shown = rows(script, "user_details").any(|it| it["user_name"] == account.username.as_str());
                    assert!(shown, "no answer shows it: {account:?}");
                }
                assert!(reading.accounts.is_some() && logged_in());
                shows_no_secret(&reading.address);
            }
            Err(error) => presentable(&error),
        },
        "databases" => match now(instance.databases()) {
            Ok(databases) => {
                for database in &databases {
                    assert!(rows(script, "databases").any(|it| it == database.as_str()), "no answer shows {database}");
                }
            }
            Err(error) => presentable(&error),
        },
        _ => return Corpus::Reject,
    }
    Corpus::Keep
}

fn rows(script: &Script, list: &str) -> impl Iterator<Item = Value> {
    let answers = script.answers.iter().filter(|(status, _)| status.is_success()).filter_map(|(_, body)| json(body));
    answers.flat_map(move |it| it[list].as_array().cloned().unwrap_or_default())
}

/// In plain letters, or in the escapes that JSON allows for any.
fn contains(body: &[u8], code: &str) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body.to_string().contains(code))
}

//! Clients as tests need them: they sign as the vendors' pages say, written apart from the emulation's verifiers.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use emulated_clouds::{
    ClockStart, Cluster, EmulatedClouds, HuaweiKeys, HuaweiProject, HuaweiUser, Instance, Options, QingcloudKey,
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

pub const PROJECT: &str = "23a50154cf494ec9ad6883979a12db0a";
pub const OTHER_PROJECT: &str = "ffffffffffffffffffffffffffffffff";
pub const INSTANCE: &str = "df3ae779e2ad4993a03ccd7a81240125in16";
pub const TAURUS: &str = "fb632d1d531a4107804f0f082581810fin07";
pub const OTHER_INSTANCE: &str = "00000000000000000000000000000000in16";
pub const CLUSTER: &str = "cl-ouhutv70";
pub const PASSWORD: &str = "Passwd@123";
/// Longer than any step of a test takes.
pub const SOON: Duration = Duration::from_secs(20);

/// The clock of tests that use virtual time: it moves only when told.
pub fn stopped(at: &str) -> Options {
    Options { clock: ClockStart::Stopped(at.parse::<Timestamp>().unwrap()), ..Options::default() }
}

/// Clouds with one of everything, and a second project with an instance.
pub async fn clouds(options: Options) -> EmulatedClouds {
    let clouds = EmulatedClouds::start(options).await.unwrap();
    clouds.add_qingcloud_key(QingcloudKey::new("QYKEY", "QYSECRET"));
    clouds.add_cluster(Cluster::new("sh1a", CLUSTER));
    for (id, name, domain) in [(PROJECT, "cn-north-4", "IAMDomain"), (OTHER_PROJECT, "cn-north-4", "Other")] {
        clouds.add_huawei_project(HuaweiProject { id: id.into(), name: name.into(), domain: domain.into() });
    }
    clouds.add_huawei_keys(HuaweiKeys {
        access_key: "AK".into(),
        secret_key: "SK".into(),
        security_token: None,
        expires_at: None,
        domain: "IAMDomain".into(),
    });
    clouds.add_huawei_user(HuaweiUser {
        domain: "IAMDomain".into(),
        name: "IAMUser".into(),
        password: "IAMPassword".into(),
    });
    clouds.add_instance(Instance::new(PROJECT, INSTANCE, TAURUS));
    clouds.add_instance(Instance::new(OTHER_PROJECT, OTHER_INSTANCE, "00000000000000000000000000000000in07"));
    clouds
}

/// A client without automatic anything, root certificates included.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap()
}

/// QingCloud's parameters before signing.
pub type Parameters = BTreeMap<String, String>;

/// Common parameters and these.
pub fn parameters(clouds: &EmulatedClouds, extra: &[(&str, &str)]) -> Parameters {
    let now = clouds.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let common = [
        ("access_key_id", "QYKEY"),
        ("signature_method", "HmacSHA256"),
        ("signature_version", "1"),
        ("version", "1"),
        ("time_stamp", &*now),
        ("zone", "sh1a"),
    ];
    common.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Parameters of a custom service.
pub fn service(clouds: &EmulatedClouds, service: &str, params: &Value) -> Parameters {
    let params = params.to_string();
    parameters(
        clouds,
        &[
            ("action", "RunClusterCustomService"),
            ("cluster", CLUSTER),
            ("role", "analysis"),
            ("service", service),
            ("service_params", &params),
        ],
    )
}

/// Parameters of `add_ck_user` for this name.
pub fn add(clouds: &EmulatedClouds, user: &str) -> Parameters {
    service(clouds, "add_ck_user", &json!({ "user": user, "passwd": PASSWORD, "host": "::/0" }))
}

/// Parameters of `del_ck_user` for this name.
pub fn remove(clouds: &EmulatedClouds, user: &str) -> Parameters {
    service(clouds, "del_ck_user", &json!({ "user": user }))
}

/// `application/x-www-form-urlencoded` differs from the canonical form in blanks, `*` and `~` only.
fn canonical(parameters: &Parameters) -> String {
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    text.replace('+', "%20").replace('*', "%2A").replace("%7E", "~")
}

/// Signs and sends; gives the answer as it is.
pub async fn send(
    clouds: &EmulatedClouds,
    method: Method,
    parameters: &Parameters,
) -> reqwest::Result<reqwest::Response> {
    let query = canonical(parameters);
    let mut mac = Hmac::<Sha256>::new_from_slice(b"QYSECRET").unwrap();
    mac.update(format!("{method}\n/iaas/\n{query}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
    let signed = format!("{query}&signature={signature}");
    let mut url = clouds.qingcloud_endpoint();
    if method == Method::GET {
        url.set_query(Some(&signed));
        http().get(url).send().await
    } else {
        http().post(url).header("content-type", "application/x-www-form-urlencoded").body(signed).send().await
    }
}

/// Signs, sends by POST and reads the answer.
pub async fn qingcloud(clouds: &EmulatedClouds, parameters: &Parameters) -> Value {
    let answer = send(clouds, Method::POST, parameters).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// The records of these jobs.
pub async fn jobs(clouds: &EmulatedClouds, extra: &[(&str, &str)]) -> Value {
    let mut parameters = parameters(clouds, &[("action", "DescribeJobs")]);
    parameters.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    qingcloud(clouds, &parameters).await
}

/// The status of one job.
pub async fn job_status(clouds: &EmulatedClouds, id: &str) -> String {
    jobs(clouds, &[("jobs.1", id)]).await["job_set"][0]["status"].as_str().unwrap_or("missing").to_owned()
}

/// Waits until this many jobs have ended.
pub async fn jobs_ended(clouds: &EmulatedClouds, count: usize) {
    let ended = |ledger: &emulated_clouds::Ledger| {
        let entries = ledger.entries().iter();
        entries.filter(|entry| matches!(entry.event, emulated_clouds::Event::JobEnded { .. })).count() >= count
    };
    clouds.wait_until(ended, SOON).await.unwrap();
}

/// A request to Huawei Cloud before signing.
pub struct HuaweiRequest {
    pub method: Method,
    pub path: String,
    /// In canonical order and encoding.
    pub query: String,
    pub body: Option<Value>,
    pub access_key: String,
    pub secret_key: String,
    pub security_token: Option<String>,
    pub date: Timestamp,
}

impl HuaweiRequest {
    pub fn new(clouds: &EmulatedClouds, method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: String::new(),
            body: None,
            access_key: "AK".into(),
            secret_key: "SK".into(),
            security_token: None,
            date: clouds.now(),
        }
    }

    /// The users of the instance.
    pub fn users(clouds: &EmulatedClouds, method: Method, tail: &str) -> Self {
        Self::new(clouds, method, format!("/v3/{PROJECT}/instances/{INSTANCE}/clickhouse/users{tail}"))
    }

    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Signs and sends to this origin.
    pub async fn send_to(self, origin: url::Url) -> reqwest::Result<reqwest::Response> {
        let body = self.body.map(|body| body.to_string()).unwrap_or_default();
        let date = self.date.strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = format!("127.0.0.1:{}", origin.port().unwrap());
        let mut headers = vec![("host", host.as_str()), ("x-sdk-date", &date)];
        if let Some(token) = &self.security_token {
            headers.push(("x-security-token", token));
        }
        headers.sort_unstable();
        let lines: String = headers.iter().flat_map(|(name, value)| [*name, ":", value, "\n"]).collect();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let payload = hex::encode(Sha256::digest(&body));
        let request = format!("{}\n{}/\n{}\n{lines}\n{names}\n{payload}", self.method, self.path, self.query);
        let to_sign = format!("SDK-HMAC-SHA256\n{date}\n{}", hex::encode(Sha256::digest(request)));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret_key.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let authorization =
            format!("SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={signature}", self.access_key);
        let mut url = origin.join(&self.path).unwrap();
        url.set_query((!self.query.is_empty()).then_some(&*self.query));
        let mut request = http().request(self.method, url).header("authorization", authorization).body(body);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, *value);
        }
        request.send().await
    }

    /// Signs, sends and reads status and answer.
    pub async fn answer(self, clouds: &EmulatedClouds) -> (u16, Value) {
        read(self.send_to(clouds.huawei_endpoint()).await.unwrap()).await
    }
}

/// Status and JSON of an answer.
pub async fn read(answer: reqwest::Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    assert!(answer.headers().contains_key("x-request-id"), "every answer of Huawei Cloud has one");
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// Creates an account of Huawei Cloud.
pub async fn create(clouds: &EmulatedClouds, name: &str) -> (u16, Value) {
    let body = json!({ "user_name": name, "password": "Rds_1234", "databases": ["*"], "dml": 1 });
    HuaweiRequest::users(clouds, Method::POST, "").body(body).answer(clouds).await
}

/// The names a list shows.
pub async fn listed(clouds: &EmulatedClouds, query: &str) -> Vec<String> {
    let (status, body) = HuaweiRequest::users(clouds, Method::GET, "").query(query).answer(clouds).await;
    assert_eq!(status, 200, "{body}");
    let rows = body["user_details"].as_array().unwrap();
    rows.iter().map(|row| row["user_name"].as_str().unwrap().to_owned()).collect()
}

/// The body that asks for a token.
pub fn token_request(password: &str, scope: &Value) -> Value {
    json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": {
            "name": "IAMUser", "password": password, "domain": { "name": "IAMDomain" } } } },
        "scope": scope,
    } })
}

/// Asks for a token.
pub async fn ask_token(clouds: &EmulatedClouds, body: &Value) -> reqwest::Response {
    let url = clouds.iam_endpoint().join("/v3/auth/tokens?nocatalog=true").unwrap();
    http()
        .post(url)
        .header("content-type", "application/json;charset=utf8")
        .body(body.to_string())
        .send()
        .await
        .unwrap()
}

/// A token for the project.
pub async fn token(clouds: &EmulatedClouds) -> String {
    let answer = ask_token(clouds, &token_request("IAMPassword", &json!({ "project": { "id": PROJECT } }))).await;
    assert_eq!(answer.status(), 201);
    answer.headers()["x-subject-token"].to_str().unwrap().to_owned()
}

/// Lists accounts with a token.
pub async fn list_with_token(clouds: &EmulatedClouds, project: &str, token: &str) -> (u16, Value) {
    let path = format!("/v3/{project}/instances/{INSTANCE}/clickhouse/users");
    let url = clouds.huawei_endpoint().join(&path).unwrap();
    read(http().get(url).header("x-auth-token", token).send().await.unwrap()).await
}

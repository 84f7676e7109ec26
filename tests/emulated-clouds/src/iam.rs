//! Huawei Cloud's identity service: tokens and projects.
//!
//! Source: the vendor's pages on obtaining a user token with a password and on querying projects.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use axum::http::Method;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    clock::MICROSECONDS,
    huawei,
    ledger::{Operation, Request, Service},
    message::{RawRequest, Reply},
    seed::{HuaweiProject, HuaweiUser},
    switches::ProjectDomain,
    world::Shared,
};

/// Wrong passwords in a row that lock a user: the account's policy, 3 to 10.
const FAILURES_TO_LOCK: u32 = 5;
/// How long: the account's policy, 15 to 30 minutes.
const LOCK: Duration = Duration::from_secs(15 * 60);

/// IAM's part of the world.
#[derive(Default)]
pub(crate) struct State {
    projects: BTreeMap<String, HuaweiProject>,
    users: BTreeMap<(String, String), User>,
    tokens: HashMap<String, Token>,
}

struct User {
    password: String,
    failures: u32,
    locked_until: Option<Timestamp>,
}

/// A token that was given out.
pub(crate) struct Token {
    user: (String, String),
    project: Option<HuaweiProject>,
    issued_at: Timestamp,
    expires_at: Timestamp,
    revoked: bool,
}

impl Token {
    /// `domain/user`
    pub(crate) fn user_name(&self) -> String {
        format!("{}/{}", self.user.0, self.user.1)
    }

    pub(crate) fn domain(&self) -> &str {
        &self.user.0
    }

    /// Id of the project it is for.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_ref().map(|project| project.id.as_str())
    }

    fn body(&self) -> Value {
        let time = |at: Timestamp| at.strftime(MICROSECONDS).to_string();
        let domain = json!({ "id": domain_id(&self.user.0), "name": self.user.0 });
        let mut token = json!({
            "methods": ["password"],
            "expires_at": time(self.expires_at),
            "issued_at": time(self.issued_at),
            "catalog": [],
            "roles": [{ "id": "0", "name": "te_admin" }, { "id": "0", "name": "te_agency" }],
            "user": {
                "id": domain_id(&self.user_name()),
                "name": self.user.1,
                "domain": domain,
                "password_expires_at": "",
            },
        });
        match &self.project {
            Some(project) => token["project"] = json!({ "id": project.id, "name": project.name, "domain": domain }),
            None => token["domain"] = domain,
        }
        json!({ "token": token })
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    Unknown,
    Expired,
    Revoked,
}

impl State {
    pub(crate) fn add_project(&mut self, project: HuaweiProject) {
        self.projects.insert(project.id.clone(), project);
    }

    /// Adds a user or changes its password, which ends its tokens.
    pub(crate) fn add_user(&mut self, user: HuaweiUser) {
        let name = (user.domain, user.name);
        for token in self.tokens.values_mut().filter(|token| token.user == name) {
            token.revoked = true;
        }
        self.users.insert(name, User { password: user.password, failures: 0, locked_until: None });
    }

    /// Ends every token at once.
    pub(crate) fn revoke_tokens(&mut self) {
        self.tokens.values_mut().for_each(|token| token.revoked = true);
    }

    pub(crate) fn token(&self, text: &str, now: Timestamp) -> Result<&Token, TokenState> {
        match self.tokens.get(text) {
            None => Err(TokenState::Unknown),
            Some(token) if token.revoked => Err(TokenState::Revoked),
            Some(token) if token.expires_at <= now => Err(TokenState::Expired),
            Some(token) => Ok(token),
        }
    }

    pub(crate) fn user_of(&self, token: &str) -> Option<String> {
        self.tokens.get(token).map(Token::user_name)
    }

    pub(crate) fn domain_of_project(&self, id: &str) -> Option<&String> {
        self.projects.get(id).map(|project| &project.domain)
    }
}

/// A made-up id that is always the same for one name.
fn domain_id(name: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(&Sha256::digest(name)[..16])
}

#[derive(Deserialize)]
struct TokenRequest {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    identity: Identity,
    #[serde(default)]
    scope: Option<Scope>,
}

#[derive(Deserialize)]
struct Identity {
    methods: Vec<String>,
    password: Password,
}

#[derive(Deserialize)]
struct Password {
    user: PasswordUser,
}

#[derive(Deserialize)]
struct PasswordUser {
    name: String,
    password: String,
    domain: Named,
}

#[derive(Deserialize)]
struct Scope {
    #[serde(default)]
    project: Option<Named>,
}

/// A domain or a project, by id or name.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    domain: Option<Box<Named>>,
}

fn operation(raw: &RawRequest) -> Operation {
    match (&raw.method, raw.path.as_str()) {
        (&Method::POST, "/v3/auth/tokens") => Operation::CreateToken,
        (&Method::GET, "/v3/auth/tokens") => Operation::ShowToken,
        (&Method::GET, "/v3/projects") => Operation::ListProjects,
        _ => Operation::Other,
    }
}

/// What the ledger says of a request.
pub(crate) fn describe(shared: &Shared, raw: &RawRequest) -> Request {
    let mut request = Request::new(Service::Iam, operation(raw), raw);
    request.key = match serde_json::from_slice::<TokenRequest>(&raw.body) {
        Ok(TokenRequest { auth }) => {
            let user = auth.identity.password.user;
            Some(format!("{}/{}", user.domain.name.unwrap_or_default(), user.name))
        }
        Err(_) => huawei::claimed_key(shared, raw),
    };
    request
}

/// Answers a request.
pub(crate) fn answer(shared: &Shared, raw: &RawRequest) -> Reply {
    let reply = match operation(raw) {
        Operation::CreateToken => create_token(shared, raw),
        Operation::ShowToken => show_token(shared, raw),
        Operation::ListProjects => list_projects(shared, raw),
        _ => {
            let message = "The API does not exist or has not been published in the environment";
            Err(huawei::gateway_refusal(&shared.world(), 404, "0101", message))
        }
    };
    let id = huawei::request_id();
    reply.unwrap_or_else(|refusal| refusal).with_header("x-iam-trace-id", id.clone()).with_header("x-request-id", id)
}

/// IAM's own envelope, in which the code is a number.
fn refuse(status: u16, title: &str, message: &str) -> Reply {
    let body = json!({ "error": { "code": status, "message": message, "title": title } });
    Reply::new(status, body).with_code(status.to_string())
}

fn create_token(shared: &Shared, raw: &RawRequest) -> Result<Reply, Reply> {
    let invalid = || refuse(400, "Bad Request", "The request body is invalid");
    let wrong = || refuse(401, "Unauthorized", "The username or password is wrong.");
    let wanted: TokenRequest = serde_json::from_slice(&raw.body).map_err(|_| invalid())?;
    let Auth { identity, scope } = wanted.auth;
    if identity.methods != ["password"] {
        return Err(invalid());
    }
    let mut world = shared.world();
    let world = &mut *world;
    let now = shared.clock.now();
    let PasswordUser { name, password, domain } = identity.password.user;
    let full_name = (domain.name.ok_or_else(invalid)?, name);
    let user = world.iam.users.get_mut(&full_name).ok_or_else(wrong)?;
    if user.locked_until.is_some_and(|until| now < until) {
        return Err(refuse(401, "Unauthorized", "The user is locked."));
    }
    if user.password != password {
        user.failures += 1;
        if user.failures >= FAILURES_TO_LOCK {
            user.failures = 0;
            user.locked_until = Some(now + LOCK);
        }
        return Err(wrong());
    }
    user.failures = 0;
    let project = match scope.and_then(|scope| scope.project) {
        None => None,
        Some(wanted) => {
            if wanted.domain.is_some() && world.switches.iam_project_domain == ProjectDomain::Refused {
                return Err(invalid());
            }
            let of_domain = |project: &&HuaweiProject| {
                let named = wanted.domain.as_ref().and_then(|domain| domain.name.as_deref());
                project.domain == full_name.0 && named.is_none_or(|name| name == project.domain)
            };
            let found = match (&wanted.id, &wanted.name) {
                (Some(id), _) => world.iam.projects.get(id).filter(of_domain),
                (None, Some(name)) => world.iam.projects.values().filter(of_domain).find(|it| it.name == *name),
                (None, None) => return Err(invalid()),
            };
            Some(found.cloned().ok_or_else(|| refuse(404, "Not Found", "Could not find project."))?)
        }
    };
    let token =
        Token { user: full_name, project, issued_at: now, expires_at: now + world.timing.token_life, revoked: false };
    let mut body = token.body();
    if raw.query_value("nocatalog").is_none_or(|value| value.is_empty()) {
        body["token"]["catalog"] = json!([{ "id": "catalog", "name": "iam", "type": "iam", "endpoints": [] }]);
    }
    let text = new_token(world.switches.iam_token_length.characters());
    world.iam.tokens.insert(text.clone(), token);
    Ok(Reply::new(201, body).with_header("x-subject-token", text))
}

/// Text as of a real token: `MII` and base64.
fn new_token(length: usize) -> String {
    let bytes: Vec<u8> = (0..length).map(|_| rand::random()).collect();
    let mut text = format!("MII{}", BASE64_STANDARD.encode(bytes));
    text.truncate(length);
    text
}

fn show_token(shared: &Shared, raw: &RawRequest) -> Result<Reply, Reply> {
    let mut world = shared.world();
    let now = shared.clock.now();
    match raw.header("x-auth-token") {
        // The vendor's SDK signs this call.
        None if raw.header("authorization").is_some() => drop(huawei::authenticate(&mut world, raw, now)?),
        caller if world.iam.token(caller.unwrap_or_default(), now).is_ok() => {}
        _ => return Err(refuse(401, "Unauthorized", "The request you have made requires authentication.")),
    }
    let subject = raw.header("x-subject-token").unwrap_or_default();
    match world.iam.token(subject, now) {
        Ok(token) => Ok(Reply::new(200, token.body()).with_header("x-subject-token", subject)),
        Err(_) => Err(refuse(404, "Not Found", "Failed to validate token")),
    }
}

fn list_projects(shared: &Shared, raw: &RawRequest) -> Result<Reply, Reply> {
    let mut world = shared.world();
    let caller = huawei::authenticate(&mut world, raw, shared.clock.now())?;
    let name = raw.query_value("name");
    let projects: Vec<_> = world
        .iam
        .projects
        .values()
        .filter(|project| project.domain == caller.domain && name.as_ref().is_none_or(|name| project.name == *name))
        .map(|project| {
            json!({
                "id": project.id,
                "name": project.name,
                "domain_id": domain_id(&project.domain),
                "parent_id": domain_id(&project.domain),
                "is_domain": false,
                "enabled": true,
                "description": "",
            })
        })
        .collect();
    Ok(Reply::new(200, json!({ "projects": projects, "links": { "next": null, "previous": null } })))
}

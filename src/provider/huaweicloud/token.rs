//! Tokens of one user of the identity service, one for each project: fetched once for everybody who waits, renewed
//! before they expire, and not asked for again too soon after a refusal.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use super::errors::CREDENTIAL_PAUSE;
use crate::{
    domain::secret::SecretText,
    provider::{
        contract::{CloudError, ErrorClass},
        http::{Answer, json},
    },
};

/// A token is renewed after this part of its life, less up to [`JITTER`] of it.
const RENEW_AFTER: f64 = 0.8;

/// Spreads the renewals of many credentials.
const JITTER: f64 = 0.05;

/// How long a token that could not be renewed early, but is still good, is used before the next try.
const RENEWAL_RETRY: Duration = Duration::from_secs(60);

/// Longest time that a refused login is remembered, whatever pause the service asked for.
const LONGEST_REFUSAL: Duration = Duration::from_secs(3600);

/// Longest token taken: the gateway allows no longer header (vendor's gateway limits); real ones are near 9 KB.
const MAX_LENGTH: usize = 32 * 1024;

/// A token, and which one it was, so that a refused one can be told from its successor.
#[derive(Clone)]
pub struct Token {
    /// Value of `X-Auth-Token`.
    pub text: Arc<SecretText>,
    serial: u64,
}

/// What a login gives.
pub struct Issued {
    /// The token.
    pub text: SecretText,
    /// How long it is good, counted from the answer.
    pub life: Duration,
}

/// The tokens of one user.
#[derive(Default)]
pub struct Tokens {
    // Held over the login: those who come meanwhile wait for its answer instead of logging in too, and wrong passwords
    // go out one at a time, so that they cannot lock the user at once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_project: HashMap<String, Held>,
    failure: Option<LoginFailure>,
    last_serial: u64,
}

#[derive(Clone)]
struct Held {
    token: Token,
    renew_at: Instant,
    expires_at: Instant,
}

/// The last login that failed, if none has succeeded since.
struct LoginFailure {
    project: String,
    at: Instant,
    /// End of the pause that the failure asks for.
    until: Instant,
    error: CloudError,
}

impl Tokens {
    /// A good token for the project: the one at hand, or that of a login. `refused` is the token that a call was just
    /// refused with; it is dropped, unless another call has already replaced it.
    pub async fn get<F>(
        &self,
        project: &str,
        refused: Option<&Token>,
        login: impl FnOnce() -> F + Send,
    ) -> Result<Token, CloudError>
    where
        F: Future<Output = Result<Issued, CloudError>> + Send,
    {
        let arrived = Instant::now();
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let (Some(held), Some(refused)) = (state.by_project.get(project), refused)
            && held.token.serial == refused.serial
        {
            state.by_project.remove(project);
        }
        let good = state.by_project.get(project).filter(|held| now < held.expires_at).cloned();
        if let Some(held) = &good
            && now < held.renew_at
        {
            return Ok(held.token.clone());
        }
        let result = match state.remembered(project, arrived, now) {
            Some(error) => Err(error),
            None => state.log_in(project, login).await,
        };
        match (result, good) {
            // Not renewed yet, but the old one is still good.
            (Err(_), Some(held)) => {
                let token = held.token.clone();
                state.by_project.insert(project.to_owned(), Held { renew_at: now + RENEWAL_RETRY, ..held });
                Ok(token)
            }
            (result, _) => result,
        }
    }
}

impl State {
    /// The last failure, while its pause lasts, and for those who waited for the very login that failed.
    fn remembered(&self, project: &str, arrived: Instant, now: Instant) -> Option<CloudError> {
        let failure = self.failure.as_ref()?;
        if now < failure.until {
            return Some(failure.error.clone().with_pause(failure.until - now));
        }
        (failure.project == project && arrived < failure.at).then(|| failure.error.clone())
    }

    async fn log_in<F>(&mut self, project: &str, login: impl FnOnce() -> F) -> Result<Token, CloudError>
    where
        F: Future<Output = Result<Issued, CloudError>>,
    {
        match login().await {
            Ok(issued) => {
                let now = Instant::now();
                self.failure = None;
                self.last_serial += 1;
                let token = Token { text: Arc::new(issued.text), serial: self.last_serial };
                let renew_at = now + renewal(issued.life, rand::random());
                let held = Held { token: token.clone(), renew_at, expires_at: now + issued.life };
                self.by_project.insert(project.to_owned(), held);
                Ok(token)
            }
            Err(mut error) => {
                if error.class == ErrorClass::AccessDenied {
                    error.pause.get_or_insert(CREDENTIAL_PAUSE);
                }
                let at = Instant::now();
                let until = at + error.pause.unwrap_or_default().min(LONGEST_REFUSAL);
                let project = project.to_owned();
                self.failure = Some(LoginFailure { project, at, until, error: error.clone() });
                Err(error)
            }
        }
    }
}

/// When to renew a token of this life; `jitter` is from 0 to 1.
fn renewal(life: Duration, jitter: f64) -> Duration {
    life.mul_f64(RENEW_AFTER - JITTER * jitter.clamp(0.0, 1.0))
}

/// Body of a login with name and password for one project (vendor page "Obtaining a user token"). The project is named
/// by its id, a form that the vendor documents and Keystone takes too.
pub fn login_body(domain: &SecretText, user: &SecretText, password: &SecretText, project: &str) -> Zeroizing<Vec<u8>> {
    super::wire::body(&Login {
        auth: Auth {
            identity: Identity {
                methods: ["password"],
                password: Password {
                    user: User {
                        name: user.expose(),
                        password: password.expose(),
                        domain: Domain { name: domain.expose() },
                    },
                },
            },
            scope: Scope { project: Project { id: project } },
        },
    })
}

/// Reads the answer to a login: the token is a header, its life stands in the body.
pub fn issued(answer: &Answer, now: Timestamp) -> Option<Issued> {
    #[derive(Deserialize)]
    struct Body {
        token: Lifetime,
    }
    #[derive(Deserialize)]
    struct Lifetime {
        expires_at: Timestamp,
        issued_at: Option<Timestamp>,
    }
    let text = answer.headers.get("x-subject-token")?.to_str().ok()?;
    if text.is_empty() || text.len() > MAX_LENGTH {
        return None;
    }
    let Lifetime { expires_at, issued_at } = json::<Body>(&answer.body)?.token;
    // Both times are the server's, so its clock does not matter.
    let life = expires_at.duration_since(issued_at.unwrap_or(now)).try_into().ok()?;
    // A century is no token's life, and no clock counts beyond.
    (life < Duration::from_secs(100 * 366 * 86_400)).then(|| Issued { text: SecretText::new(text), life })
}

#[derive(Serialize)]
struct Login<'a> {
    auth: Auth<'a>,
}

#[derive(Serialize)]
struct Auth<'a> {
    identity: Identity<'a>,
    scope: Scope<'a>,
}

#[derive(Serialize)]
struct Identity<'a> {
    methods: [&'static str; 1],
    password: Password<'a>,
}

#[derive(Serialize)]
struct Password<'a> {
    user: User<'a>,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    password: &'a str,
    domain: Domain<'a>,
}

#[derive(Serialize)]
struct Domain<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Scope<'a> {
    project: Project<'a>,
}

#[derive(Serialize)]
struct Project<'a> {
    id: &'a str,
}

#[cfg(test)]
mod tests;

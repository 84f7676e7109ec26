//! One credential at one endpoint: authenticates each request, sends it, and judges the answer.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::{
    Method, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use zeroize::Zeroizing;

use super::{
    errors::{Asked, Failure, classify},
    sign::{self, DATE_HEADER, Signable},
    token::{self, Issued, Token, Tokens},
};
use crate::{
    domain::secret::SecretText,
    provider::{
        contract::{CallError, CloudError, ErrorClass},
        http::{ANSWER_LIMIT, Call, Http},
    },
};

/// Label of a login in measurements, in the words of the vendor's SDK.
pub const LOGIN: &str = "keystone_create_user_token_by_password";

const JSON: &str = "application/json";
const PROJECT_HEADER: &str = "x-project-id";
const SECURITY_TOKEN_HEADER: &str = "x-security-token";
const TOKEN_HEADER: &str = "x-auth-token";

/// A credential of the cloud.
pub enum Credentials {
    /// Signs each request.
    AccessKey {
        /// AK.
        access_key_id: SecretText,
        /// SK.
        secret_access_key: SecretText,
        /// Comes with temporary keys.
        security_token: Option<SecretText>,
    },
    /// Logs in for a token.
    Password {
        /// The account ("domain") the user belongs to.
        domain_name: SecretText,
        /// The IAM user.
        user_name: SecretText,
        /// Its password.
        password: SecretText,
    },
}

impl Credentials {
    /// Reads the keys of a credentials Secret: an access key, or else a password login. The error names what is
    /// missing.
    pub fn read(value: &dyn Fn(&str) -> Option<SecretText>) -> Result<Self, String> {
        let required = |key: &str| value(key).ok_or_else(|| format!("key {key} is missing"));
        if value("accessKeyID").is_some() || value("secretAccessKey").is_some() {
            return Ok(Self::AccessKey {
                access_key_id: required("accessKeyID")?,
                secret_access_key: required("secretAccessKey")?,
                security_token: value("securityToken"),
            });
        }
        if let (Some(domain_name), Some(user_name), Some(password)) =
            (value("domainName"), value("userName"), value("password"))
        {
            return Ok(Self::Password { domain_name, user_name, password });
        }
        Err("it needs accessKeyID and secretAccessKey, or domainName, userName and password".to_owned())
    }

    /// What tells this credential from another.
    pub fn parts(&self) -> Vec<&SecretText> {
        match self {
            Self::AccessKey { access_key_id, secret_access_key, security_token } => {
                [access_key_id, secret_access_key].into_iter().chain(security_token).collect()
            }
            Self::Password { domain_name, user_name, password } => vec![domain_name, user_name, password],
        }
    }

    /// What a server could repeat to anybody's harm.
    fn secrets(&self) -> Vec<&SecretText> {
        match self {
            Self::AccessKey { secret_access_key, security_token, .. } => {
                std::iter::once(secret_access_key).chain(security_token).collect()
            }
            Self::Password { password, .. } => vec![password],
        }
    }
}

/// Where a service of the cloud is reached, and how.
pub struct Endpoint {
    /// Sends the requests.
    pub http: Arc<Http>,
    /// Scheme, host and port; paths are absolute.
    pub origin: Url,
}

/// One credential at one endpoint. Its instances share tokens, connections and call budget.
pub struct Client {
    database: Endpoint,
    identity: Endpoint,
    credentials: Credentials,
    region: String,
    tokens: Tokens,
}

/// A request of the database service that is not yet authenticated.
pub(super) struct Request<'a> {
    pub operation: &'static str,
    pub method: Method,
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// The password in the body.
    pub password: Option<&'a SecretText>,
    /// Most bytes read of the answer.
    pub limit: usize,
}

impl Client {
    /// A client for the database service at `database`; `identity` gives out the tokens of password credentials.
    pub fn new(database: Endpoint, identity: Endpoint, credentials: Credentials, region: impl Into<String>) -> Self {
        Self { database, identity, credentials, region: region.into(), tokens: Tokens::default() }
    }

    /// The region the client was made for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Sends a request; `read` takes the body of a 2xx answer apart, and `None` of it means an unknown outcome.
    ///
    /// A refused token is a certain refusal, so the request goes out once more with a fresh one.
    pub(super) async fn send<T>(
        &self,
        project: &str,
        request: &Request<'_>,
        read: impl Fn(&[u8]) -> Option<T> + Send + Sync,
    ) -> Result<T, CallError> {
        let token = self.token(project, None).await.map_err(CallError::NotApplied)?;
        let failure = match self.attempt(project, request, token.as_ref(), &read).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        match token {
            Some(refused) if failure.credential => {
                let fresh = self.token(project, Some(&refused)).await.map_err(CallError::NotApplied)?;
                self.attempt(project, request, fresh.as_ref(), &read).await.map_err(|failure| failure.error)
            }
            _ => Err(failure.error),
        }
    }

    async fn attempt<T>(
        &self,
        project: &str,
        request: &Request<'_>,
        token: Option<&Token>,
        read: impl Fn(&[u8]) -> Option<T> + Send + Sync,
    ) -> Result<T, Failure> {
        let now = Timestamp::now();
        let call = self.call(project, request, token, now).map_err(Failure::not_sent)?;
        let mut secrets = self.credentials.secrets();
        secrets.extend(request.password);
        secrets.extend(token.map(|token| token.text.as_ref()));
        let asked = Asked { signed: token.is_none(), secrets: &secrets, now };
        let mut credential = false;
        let result = self.database.http.exchange(call, |answer| {
            if answer.status.is_success()
                && let Some(value) = read(&answer.body)
            {
                return Ok(value);
            }
            let failure = classify(answer, &asked);
            credential = failure.credential;
            Err(failure.error)
        });
        result.await.map_err(|error| Failure { error, credential })
    }

    /// The token to send; keys need none.
    async fn token(&self, project: &str, refused: Option<&Token>) -> Result<Option<Token>, CloudError> {
        match &self.credentials {
            Credentials::AccessKey { .. } => Ok(None),
            Credentials::Password { domain_name, user_name, password } => {
                let body = || token::login_body(domain_name, user_name, password, project);
                self.tokens.get(project, refused, || self.log_in(body())).await.map(Some)
            }
        }
    }

    async fn log_in(&self, body: Zeroizing<Vec<u8>>) -> Result<Issued, CloudError> {
        let mut url = self.identity.origin.clone();
        url.set_path("/v3/auth/tokens");
        // Without it the answer holds every service's addresses.
        url.set_query(Some("nocatalog=true"));
        let call = Call {
            operation: LOGIN,
            method: Method::POST,
            url,
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static(JSON))],
            body: Some(body),
            limit: ANSWER_LIMIT,
        };
        let now = Timestamp::now();
        let secrets = self.credentials.secrets();
        let asked = Asked { signed: false, secrets: &secrets, now };
        let result = self.identity.http.exchange(call, |answer| {
            let issued = if answer.status.is_success() { token::issued(answer, now) } else { None };
            issued.ok_or_else(|| classify(answer, &asked).error)
        });
        result.await.map_err(|error| {
            let error = error.into_error();
            // Said anew, so that the text stays within its bound.
            let said = CloudError::new(error.class, format!("login: {}", error.message));
            CloudError { message: said.message, ..error }
        })
    }

    /// The request as it goes onto the wire.
    fn call(
        &self,
        project: &str,
        request: &Request<'_>,
        token: Option<&Token>,
        now: Timestamp,
    ) -> Result<Call, CloudError> {
        let query: Vec<(&str, &str)> = request.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut url = self.database.origin.clone();
        url.set_path(&request.path);
        if !query.is_empty() {
            url.set_query(Some(&sign::canonical_query(&query)));
        }
        let mut headers = vec![header(CONTENT_TYPE.as_str(), JSON)?];
        match &self.credentials {
            Credentials::Password { .. } => {
                headers.extend(token.map(|token| secret_header(TOKEN_HEADER, token.text.expose())).transpose()?);
            }
            Credentials::AccessKey { access_key_id, secret_access_key, security_token } => {
                let host = host(&url);
                let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
                let mut signed = vec![
                    ("host", host.as_str()),
                    (CONTENT_TYPE.as_str(), JSON),
                    (PROJECT_HEADER, project),
                    (DATE_HEADER, &date),
                ];
                if let Some(token) = security_token {
                    signed.push((SECURITY_TOKEN_HEADER, token.expose()));
                    headers.push(secret_header(SECURITY_TOKEN_HEADER, token.expose())?);
                }
                let signable = Signable {
                    method: request.method.as_str(),
                    path: &request.path,
                    query: &query,
                    headers: &signed,
                    body: request.body.as_ref().map_or(&[], |body| body.as_slice()),
                };
                let authorization = sign::authorization(&signable, access_key_id.expose(), secret_access_key);
                headers.push(header(PROJECT_HEADER, project)?);
                headers.push(header(DATE_HEADER, &date)?);
                headers.push(secret_header(AUTHORIZATION.as_str(), &authorization)?);
            }
        }
        Ok(Call {
            operation: request.operation,
            method: request.method.clone(),
            url,
            headers,
            body: request.body.clone(),
            limit: request.limit,
        })
    }
}

/// The `Host` header as the HTTP library writes it: the port only where it is not the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn header(name: &'static str, text: &str) -> Result<(HeaderName, HeaderValue), CloudError> {
    let value = HeaderValue::from_str(text).map_err(|_| {
        let text = "the credential holds characters that no key and no token has; write its Secret anew";
        CloudError::new(ErrorClass::AccessDenied, text)
    })?;
    Ok((HeaderName::from_static(name), value))
}

fn secret_header(name: &'static str, text: &str) -> Result<(HeaderName, HeaderValue), CloudError> {
    let (name, mut value) = header(name, text)?;
    value.set_sensitive(true);
    Ok((name, value))
}

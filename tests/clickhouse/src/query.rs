//! One query over HTTP.

use reqwest::Client;
use url::Url;

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
#[error("query failed (HTTP status {status:?}, ClickHouse code {code:?}): {text}")]
pub struct QueryError {
    /// ClickHouse's code of the error: 193 wrong password, 194 none, 192 unknown account, 195 address not allowed, 164 read only.
    pub code: Option<u16>,
    /// The HTTP status; none where no answer came.
    pub status: Option<u16>,
    /// What ClickHouse, or the HTTP client, says about it.
    pub text: String,
}

/// A client that keeps no connection: a kept one would belong to the runtime of the test that opened it, and break in
/// the next one.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder().no_proxy().pool_max_idle_per_host(0).build()
}

pub(crate) async fn query(
    client: &Client,
    server: Url,
    user: &str,
    password: &str,
    sql: &str,
) -> Result<String, QueryError> {
    let no_answer = |error: reqwest::Error| QueryError { code: None, status: None, text: error.to_string() };
    let request = client.post(server).basic_auth(user, Some(password)).body(sql.to_owned());
    let response = request.send().await.map_err(no_answer)?;
    let status = response.status();
    let text = response.text().await.map_err(no_answer)?;
    if status.is_success() {
        return Ok(text);
    }
    Err(QueryError { code: code(&text), status: Some(status.as_u16()), text })
}

/// Error texts begin with `Code: 193. DB::Exception` (`Code: 193, e.displayText()` in old versions).
fn code(text: &str) -> Option<u16> {
    let number = text.strip_prefix("Code: ")?;
    let end = number.find(|character: char| !character.is_ascii_digit())?;
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_from_old_and_new_texts() {
        assert_eq!(code("Code: 193, e.displayText() = DB::Exception: Wrong password"), Some(193));
        assert_eq!(code("Code: 516. DB::Exception: Authentication failed"), Some(516));
        assert_eq!(code("Not Found"), None);
    }
}

//! What ClickHouse's answer to a login means. The text of an answer goes nowhere: whoever wrote it is not known.

use crate::domain::seen::LoginSeen;

/// `UNKNOWN_USER`, `WRONG_PASSWORD`, `REQUIRED_PASSWORD`, and `AUTHENTICATION_FAILED`, which stands for all three since
/// version 21.
const REFUSED: [u16; 4] = [192, 193, 194, 516];

/// `IP_ADDRESS_NOT_ALLOWED`: old versions say so, new ones say `AUTHENTICATION_FAILED`.
const ADDRESS_NOT_ALLOWED: u16 = 195;

/// The meaning of a whole answer. `code` is that of the header `X-ClickHouse-Exception-Code`.
pub fn meaning(status: u16, code: Option<u16>, body: &[u8]) -> LoginSeen {
    let text = String::from_utf8_lossy(body);
    let code = code.or_else(|| code_in(&text));
    match (status, code) {
        (_, Some(code)) if REFUSED.contains(&code) => LoginSeen::Refused,
        (_, None) if text.contains("AUTHENTICATION_FAILED") => LoginSeen::Refused,
        (401 | 403, None) => LoginSeen::Refused,
        (200, None) if text.trim() == "1" => LoginSeen::Accepted,
        (_, Some(ADDRESS_NOT_ALLOWED)) => LoginSeen::Unreachable(
            "The account may not log in from the operator's address (code 195); see its allowed hosts.".to_owned(),
        ),
        (_, Some(code)) => LoginSeen::Unreachable(format!("ClickHouse answered with code {code}.")),
        (200, None) => LoginSeen::Unreachable("What answers there is not ClickHouse.".to_owned()),
        (status, None) => LoginSeen::Unreachable(format!("The answer was HTTP status {status}.")),
    }
}

/// Error texts begin with `Code: 193. DB::Exception` (`Code: 193, e.displayText()` in old versions).
fn code_in(text: &str) -> Option<u16> {
    let number = text.strip_prefix("Code: ")?;
    number[..number.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable(status: u16, body: &str) -> String {
        match meaning(status, None, body.as_bytes()) {
            LoginSeen::Unreachable(why) => why,
            other => panic!("{status} {body}: {other:?}"),
        }
    }

    #[test]
    fn one_is_the_answer_of_a_login_that_succeeded() {
        assert_eq!(meaning(200, None, b"1\n"), LoginSeen::Accepted);
        for body in ["", "2\n", "<html>1</html>"] {
            assert!(unreachable(200, body).contains("not ClickHouse"), "{body}");
        }
    }

    #[test]
    fn refusals_of_old_and_new_versions_are_understood() {
        let bodies = [
            (401, "Code: 193, e.displayText() = DB::Exception: Wrong password for user reporting"),
            (401, "Code: 192, e.displayText() = DB::Exception: Unknown user reporting"),
            (500, "Code: 194. DB::Exception: Password required"),
            (403, "Code: 516. DB::Exception: reporting: Authentication failed. (AUTHENTICATION_FAILED)"),
            (403, "reporting: Authentication failed (AUTHENTICATION_FAILED)"),
            (401, ""),
            (403, ""),
        ];
        for (status, body) in bodies {
            assert_eq!(meaning(status, None, body.as_bytes()), LoginSeen::Refused, "{status} {body}");
        }
        assert_eq!(meaning(403, Some(516), b""), LoginSeen::Refused);
    }

    #[test]
    fn anything_else_says_nothing_of_the_password_and_is_not_repeated() {
        let table = [
            (500, "Code: 195. DB::Exception: hunter2 is not allowed to connect", "code 195"),
            (403, "Code: 497. DB::Exception: hunter2: Not enough privileges", "code 497"),
            (503, "hunter2 is down", "status 503"),
            (302, "hunter2 has moved", "status 302"),
        ];
        for (status, body, says) in table {
            let why = unreachable(status, body);
            assert!(why.contains(says) && !why.contains("hunter2"), "{why}");
        }
    }
}

//! Whether a list of accounts shows one otherwise than the status of its user says. Pure.

use super::seen::Record;
use crate::provider::contract::Account;

/// The account of a settled user has gone or was changed. Users with something to do look for themselves.
pub fn drifted(record: &Record, listed: Option<&Account>) -> bool {
    match (&record.applied, listed) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(applied), Some(account)) => *applied != *account.access,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::names::Username, provider::contract::Access};

    fn access(database: &str) -> Access {
        Access { databases: Some([database.to_owned()].into()), ..Access::default() }
    }

    fn account(database: &str) -> Account {
        Account { username: Username::new("reporting"), access: access(database).into(), built_in: false }
    }

    #[test]
    fn account_that_is_missing_or_has_another_access_has_drifted() {
        let record = Record { applied: Some(access("a")), ..Record::default() };
        assert!(drifted(&record, None));
        assert!(drifted(&record, Some(&account("b"))));
        assert!(!drifted(&record, Some(&account("a"))));
    }

    #[test]
    fn user_that_owns_nothing_has_nothing_that_could_drift() {
        assert!(!drifted(&Record::default(), None));
        assert!(!drifted(&Record::default(), Some(&account("a"))));
    }
}

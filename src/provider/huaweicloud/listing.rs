//! Lists, read page by page to their end: a list is whole, or it is an error.

use std::collections::BTreeMap;

use reqwest::Method;

use super::{client::Request, instance::Instance, wire::Page};
use crate::provider::{
    contract::{CallError, CloudError, ErrorClass},
    http::LIST_LIMIT,
};

/// Most records the cloud gives in one page.
const PAGE_SIZE: usize = 100;

/// Most pages read: 100 000 records, and an end to a list that has none.
pub(super) const MAX_PAGES: usize = 1000;

/// Reads every page of a list of the instance; `name` tells its records apart. Records come and go meanwhile, and offsets
/// count records: one that goes moves the later ones forward, so as many are read again as the total has shrunk.
pub(super) async fn all<T: Send>(
    instance: &Instance,
    operation: &'static str,
    list: &str,
    read: fn(&[u8]) -> Option<Page<T>>,
    name: fn(&T) -> &str,
) -> Result<Vec<T>, CloudError> {
    let contradiction =
        || CloudError::new(ErrorClass::Unavailable, format!("the pages of the list of {list} contradict each other"));
    let mut records: BTreeMap<String, T> = BTreeMap::new();
    let (mut offset, mut previous_total, mut least_total) = (0_usize, 0_usize, usize::MAX);
    for _ in 0..MAX_PAGES {
        let request = Request {
            operation,
            method: Method::GET,
            path: instance.path(&["instances", &instance.id, "clickhouse", list])?,
            query: vec![("limit", PAGE_SIZE.to_string()), ("offset", offset.to_string())],
            body: None,
            password: None,
            limit: LIST_LIMIT,
        };
        let sent = instance.client.send(&instance.project_id, &request, read).await;
        let page = sent.map_err(CallError::into_error)?;
        let rows = page.rows.len();
        if rows == 0 && offset == 0 && page.total > 0 {
            return Err(contradiction());
        }
        records.extend(page.rows.into_iter().map(|record| (name(&record).to_owned(), record)));
        least_total = least_total.min(page.total);
        let gone = previous_total.saturating_sub(page.total);
        previous_total = page.total;
        if gone > 0 {
            offset = offset.saturating_sub(gone);
            continue;
        }
        offset += rows;
        if rows == 0 || offset >= page.total {
            // Fewer than the cloud counted at any time: it gave the same records twice.
            let complete = rows == 0 || records.len() >= least_total;
            return if complete { Ok(records.into_values().collect()) } else { Err(contradiction()) };
        }
    }
    Err(CloudError::new(ErrorClass::Unavailable, format!("the list of {list} has more than {MAX_PAGES} pages")))
}

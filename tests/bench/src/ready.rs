//! An independent watch of the users: how many are Ready, whoever made them so.

use std::{
    collections::HashSet,
    ops::Range,
    pin::pin,
    time::{Duration, Instant},
};

use clickhouse_user_operator::api::user::ClickHouseUser;
use futures::StreamExt;
use kube::{Api, Client, api::WatchEvent, core::PartialObjectMeta};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::manifests::User;

/// Longest that users may take to become Ready.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Notes users that are Ready until it is dropped.
pub struct Watched {
    ready: watch::Receiver<HashSet<String>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Seen {
    metadata: Meta,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    name: String,
    resource_version: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl Watched {
    /// Watches from now on.
    pub async fn start(client: Client) -> Self {
        let api: Api<PartialObjectMeta<ClickHouseUser>> = Api::all(client.clone());
        let now = api.list(&kube::api::ListParams::default().limit(1)).await.expect("a list");
        let mut version = now.metadata.resource_version.unwrap_or_default();
        let (sender, ready) = watch::channel(HashSet::new());
        let task = tokio::spawn(async move {
            loop {
                let path = format!(
                    "/apis/chuser.dev/v1alpha1/clickhouseusers?watch=true&timeoutSeconds=290&allowWatchBookmarks=true&resourceVersion={version}"
                );
                let request = http::Request::get(path).body(Vec::new()).expect("a well-formed request");
                let events = client.request_events::<Seen>(request).await.expect("a watch");
                let mut events = pin!(events);
                while let Some(Ok(event)) = events.next().await {
                    let seen = match event {
                        WatchEvent::Added(seen) | WatchEvent::Modified(seen) => seen,
                        WatchEvent::Bookmark(bookmark) => {
                            version = bookmark.metadata.resource_version;
                            continue;
                        }
                        WatchEvent::Deleted(_) => continue,
                        WatchEvent::Error(error) => panic!("the watch of users fails: {error:?}"),
                    };
                    version = seen.metadata.resource_version;
                    if seen.status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True") {
                        sender.send_modify(|ready| _ = ready.insert(seen.metadata.name));
                    }
                }
            }
        });
        Self { ready, task }
    }

    /// Waits until all these users have become Ready since the start, and returns when that was.
    pub async fn all(&self, users: Range<usize>) -> Instant {
        let mut ready = self.ready.clone();
        let among = |ready: &HashSet<String>| users.clone().filter(|user| ready.contains(&User(*user).name())).count();
        let all = |ready: &HashSet<String>| ready.len() >= users.len() && among(ready) == users.len();
        let waited = timeout(PATIENCE, ready.wait_for(all)).await.map(drop);
        assert!(waited.is_ok(), "{} of {} users are Ready in time", among(&self.ready.borrow()), users.len());
        Instant::now()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

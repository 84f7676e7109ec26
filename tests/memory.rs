//! What a server without end costs the operator: each call takes no more of it than its limit, and no more memory than a
//! small multiple of that. One test, because the allocator counts for the whole process.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clickhouse_user_operator::{
    domain::{
        names::{AttemptId, InstanceKey, Username},
        operator_key::{KEY_BYTES, OperatorKey},
        secret::SecretText,
    },
    provider::{
        budget::Rate,
        connection::Connection,
        contract::{Access, CallError, Delay, NewAccount, Permission},
        fleet::{Fleet, FleetSettings, Rates, Target},
        http::{ANSWER_LIMIT, LIST_LIMIT, Transport},
        qingcloud,
    },
};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;
use zeroize::Zeroizing;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1024 * 1024;

/// What lies in the sockets' buffers of both ends when one of them stops reading.
const IN_SOCKETS: usize = 12 * MIB;

/// The longest time of a call, which alone ends some of them.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// An answer: what comes first, and what then comes again and again, so often.
struct Endless {
    name: &'static str,
    head: &'static str,
    again: Vec<u8>,
    times: usize,
}

/// Each as if of a hundred mebibytes or without end.
fn endless() -> Vec<Endless> {
    let block = |byte: u8| vec![byte; 64 * 1024];
    let chunk = [b"10000\r\n".to_vec(), block(b'['), b"\r\n".to_vec()].concat();
    vec![
        Endless {
            name: "a body of 100 MiB",
            head: "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n",
            again: block(b'['),
            times: 1600,
        },
        Endless {
            name: "chunks without end",
            head: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            again: chunk,
            times: usize::MAX,
        },
        Endless {
            name: "a body until the connection ends, which it does not",
            head: "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
            again: block(b'{'),
            times: usize::MAX,
        },
        Endless {
            name: "a header without end",
            head: "HTTP/1.1 200 OK\r\nx-endless: ",
            again: block(b'a'),
            times: usize::MAX,
        },
        Endless {
            name: "headers without end",
            head: "HTTP/1.1 200 OK\r\n",
            again: b"x-one-more: and another\r\n".repeat(1000),
            times: usize::MAX,
        },
        Endless { name: "a status line without end", head: "HTTP/1.1 200 ", again: block(b'K'), times: usize::MAX },
        Endless {
            name: "half a mebibyte of gzip that unpacks to half a gibibyte",
            head: "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-encoding: gzip\r\n\r\n",
            again: packed_mebibyte(),
            times: 512,
        },
        Endless {
            name: "trailers without end",
            head: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            again: b"x-one-more: and another\r\n".repeat(1000),
            times: usize::MAX,
        },
        Endless {
            name: "interim answers without end",
            head: "",
            again: b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100),
            times: usize::MAX,
        },
    ]
}

/// A member of a gzip stream; many in a row are a stream too.
fn packed_mebibyte() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&vec![0; MIB]).expect("writing to memory does not fail");
    let packed = packed.finish().expect("writing to memory does not fail");
    assert!(packed.len() < 2048, "{}", packed.len());
    packed
}

/// Answers every request so, as fast as it is taken; counts what was.
async fn serve(answer: Endless) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    tokio::spawn(async move {
        let answer = Arc::new(answer);
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pour(stream, answer.clone(), counted.clone()));
        }
    });
    (url.parse().expect("a URL"), taken)
}

async fn pour(mut stream: TcpStream, answer: Arc<Endless>, taken: Arc<AtomicUsize>) {
    let mut request = [0; 8192];
    if !matches!(stream.read(&mut request).await, Ok(1..)) || stream.write_all(answer.head.as_bytes()).await.is_err() {
        return;
    }
    for _ in 0..answer.times {
        if stream.write_all(&answer.again).await.is_err() {
            return;
        }
        taken.fetch_add(answer.again.len(), Ordering::Relaxed);
    }
}

fn targets(endpoint: &Url) -> [Target; 2] {
    let qingcloud = Target::QingCloud {
        endpoint: endpoint.clone(),
        zone: "sh1a".to_owned(),
        cluster_id: "cl-ouhutv70".to_owned(),
        role: "analysis".to_owned(),
        method: qingcloud::Method::Post,
    };
    let huaweicloud = Target::HuaweiCloud {
        endpoint: endpoint.clone(),
        iam_endpoint: endpoint.clone(),
        region: "cn-north-4".to_owned(),
        project_id: "0".repeat(32),
        instance_id: format!("{:0>32}in16", 0),
        taurus_instance_id: None,
    };
    [qingcloud, huaweicloud]
}

async fn create(connection: &Connection) {
    let (username, password) = (Username::new("reporting"), SecretText::new("Passwd@123"));
    let access = Access {
        allowed_hosts: Some(["10.0.0.0/8".to_owned()].into()),
        databases: Some(["db1".to_owned()].into()),
        permission: Some(Permission::ReadOnly),
    };
    let account = NewAccount { username: &username, password: &password, access: &access };
    let outcome = connection.create(&AttemptId::new("0".repeat(32)), account).await;
    assert!(matches!(outcome, Err(CallError::Unknown(_))), "{outcome:?}");
}

async fn read(connection: &Connection) {
    assert!(matches!(connection.reading(Timestamp::now()).await.err(), Some(Delay::Failed(_))));
}

#[tokio::test]
async fn answer_without_end_costs_no_more_than_the_limit_of_its_call() {
    let rate = Rate { per_second: 1e6, burst: 1_000_000 };
    let fleet = Fleet::new(FleetSettings {
        transport: Transport { call_timeout: CALL_TIMEOUT, extra_roots: Vec::new(), observer: Arc::new(|_| {}) },
        rates: Rates { qingcloud: rate, huaweicloud: rate },
        max_deletes: None,
        job_poll_interval: CALL_TIMEOUT,
        job_timeout: CALL_TIMEOUT,
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(1),
    });
    for answer in endless() {
        let name = answer.name;
        let interim = answer.head.is_empty();
        let (endpoint, taken) = serve(answer).await;
        for target in targets(&endpoint) {
            let value = |_: &str| Some(SecretText::new("x"));
            let operator_key = OperatorKey::new(Zeroizing::new([7; KEY_BYTES]));
            let key = InstanceKey::new("an/instance");
            let connection = fleet.connect(&target, &key, &value, &operator_key).expect("a connection");
            for (limit, reads) in [(ANSWER_LIMIT, false), (LIST_LIMIT, true)] {
                let context = format!("{name}, {}, a limit of {} MiB", target.provider(), limit / MIB);
                taken.store(0, Ordering::Relaxed);
                let before = MEMORY.current_usage();
                MEMORY.reset_peak_usage();
                if reads {
                    read(&connection).await;
                } else {
                    create(&connection).await;
                }
                let peak = MEMORY.peak_usage().saturating_sub(before);
                let taken = taken.load(Ordering::Relaxed);
                // A buffer that grows holds twice what is in it, and what it grew from.
                assert!(peak <= 4 * limit + 2 * MIB, "{context}: {peak} bytes of memory");
                // Interim answers are dropped as they come, until the call's time is up.
                assert!(interim || taken <= limit + IN_SOCKETS, "{context}: {taken} bytes taken");
            }
        }
    }
}

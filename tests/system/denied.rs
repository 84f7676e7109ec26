//! What a process may be denied by its machine: somebody who reads its log, room for it, file descriptors. The work goes
//! on, and the probes say so.

use std::{io::Read, net::TcpListener};

use emulated_clouds::EffectKind;

use crate::{
    manifests::{PASSWORD, password, user},
    world::{World, on_both_clouds},
};

/// Nearly as much as a pipe holds on Linux, which is 64 KiB in pages of 4.
const NEARLY_FULL: usize = 58 * 1024;

/// Starts the operator in a shell that was told this first. Its ports are not in a log.
fn start_after(world: &mut World, told: &str) {
    world.operator.kill();
    for flag in ["--health-bind-address", "--metrics-bind-address"] {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        world.operator.set(flag, &free.to_string());
    }
    world.operator.start_after(told);
}

/// Accounts come and go, and both probes are content.
async fn serves(world: &World, users: usize) {
    let names: Vec<_> = (0..users).map(|number| format!("user{number}")).collect();
    let manifests = names.iter().map(|name| password(name, PASSWORD) + &user(world.cloud, name, ""));
    world.apply_instance().await;
    world.kubernetes.apply(&manifests.collect::<String>()).await;
    for name in &names {
        world.kubernetes.user_shows(name, "AccountReady").await;
    }
    for name in &names {
        world.delete_user(name).await;
        assert_eq!(world.effects(name), [EffectKind::Created, EffectKind::Deleted]);
    }
    for probe in ["/livez", "/readyz"] {
        let (status, says) = world.operator.page("health-bind-address", probe).await;
        assert_eq!(status, 200, "{probe}: {says}");
    }
}

#[tokio::test]
async fn log_that_nobody_reads_stops_neither_the_work_nor_the_end_of_the_process() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        start_after(&mut world, &format!("head -c {NEARLY_FULL} /dev/zero >&2"));
        serves(&world, 4).await;
        let mut log = world.operator.unread_log();
        assert!(world.operator.terminate().await.success());
        let mut unread = Vec::new();
        log.read_to_end(&mut unread).expect("what the pipe holds");
        assert!(unread.len() > 60 * 1024, "the pipe was never full: {} bytes", unread.len());
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn log_without_room_stops_nothing() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        start_after(&mut world, "exec 2>/dev/full");
        serves(&world, 3).await;
        assert!(world.operator.terminate().await.success());
        world.finish().await;
    })
    .await;
}

#[tokio::test]
async fn sixty_four_file_descriptors_are_enough_to_go_on() {
    on_both_clouds(async |cloud| {
        let mut world = World::of(cloud).start().await;
        start_after(&mut world, "exec 2>/dev/null; ulimit -n 64");
        serves(&world, 20).await;
        world.finish().await;
    })
    .await;
}

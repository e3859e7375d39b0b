//! A destination that takes nothing of one partition for a while: the others go on.

use super::{
    flow::{Flow, Server, Setup},
    harness::ledger,
    oracle::{self, Verdict},
    run::Run,
};

const PARTITIONS: u32 = 4;
/// The partition that is held up.
const HELD: u32 = 1;

/// How many batches of a partition the sink takes at once.
const UNSETTLED: [u32; 2] = [1, 4];

#[tokio::test]
async fn what_holds_up_one_partition_holds_up_no_other() {
    let mut run = Run::new("slow_partition");
    let mut total = Verdict::of::<u64>([], []);
    let server = Server::start().await;
    let messages: u64 = run.scaled(300, 6_000);
    for unsettled in UNSETTLED {
        let setup = Setup {
            partitions: PARTITIONS,
            sink: "max_in_flight = 2".to_owned(),
            sink_plugin: format!(
                "unsettled = {unsettled}\nheld_partition = {HELD}\nhold = \"hold\""
            ),
            has_source: false,
            ..Setup::default()
        };
        let flow = Flow::new(server.address(), server.address(), setup).await;
        for partition in 0..PARTITIONS {
            let ids = (0..messages).map(|id| id.to_string());
            flow.topic.send(partition, ids).await;
        }
        let hold = flow.home.path().join("hold");
        std::fs::write(&hold, "").unwrap();
        let daemon = flow.home.start().await;
        let others = u64::from(PARTITIONS - 1) * messages;
        flow.written(others as usize).await;
        assert!(flow.taken().iter().all(|(partition, _)| *partition != HELD));
        std::fs::remove_file(hold).unwrap();
        flow.drained(&daemon).await;
        oracle::assert_ordered(&ledger::entries(&flow.ledger()));
        total = total.and(flow.of_sink().await);
        run.tried();
        daemon.interrupt().await;
    }
    run.finish("", &total, 0);
}

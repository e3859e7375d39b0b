//! Everything that can come between a source and the broker, in turn, under load.

use std::time::Duration;

use super::{
    flow::{Flow, Setup},
    harness::{
        broker_process::BrokerProcess,
        daemon::Daemon,
        gate::{Gate, Request, Side},
    },
    run::Run,
};

/// Longer than a line in a ledger or of an acknowledgement: for progress counted in bytes.
const LINE: u64 = 16;

/// A broker behind a gate, and the flow that goes through it.
pub struct Havoc {
    pub broker: BrokerProcess,
    gate: Gate,
    pub flow: Flow,
    /// What is cut short.
    request: Request,
}

impl Havoc {
    pub async fn new(setup: Setup, request: Request) -> Self {
        let broker = BrokerProcess::start().await;
        let gate = Gate::start(broker.address()).await;
        let flow = Flow::new(broker.address(), &gate.address(), setup).await;
        Self {
            broker,
            gate,
            flow,
            request,
        }
    }

    /// Starts a daemon and strikes so many times, each time when up to `lines` more have been written down. Returns the daemon that runs
    /// then.
    pub async fn rage(&mut self, run: &mut Run, rounds: u64, lines: u64) -> Daemon {
        let mut daemon = self.flow.home.start().await;
        for round in 0..rounds {
            self.flow.progress(run.draw(1..lines) * LINE).await;
            tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
            daemon = self.strike(round, daemon, run).await;
            run.tried();
        }
        daemon
    }

    /// The broker does not get a request, or nobody hears that it did; it dies; the daemon dies; the daemon is stopped.
    async fn strike(&mut self, round: u64, daemon: Daemon, run: &mut Run) -> Daemon {
        match round % 5 {
            0 => self.cut(Side::Before, run).await,
            1 => self.cut(Side::After, run).await,
            2 => {
                self.broker.kill().await;
                self.broker.again().await;
            }
            3 => {
                daemon.kill().await;
                return self.flow.home.start().await;
            }
            _ => {
                daemon.interrupt().await;
                return self.flow.home.start().await;
            }
        }
        daemon
    }

    async fn cut(&self, side: Side, run: &mut Run) {
        let passes = run.draw(0..6) as u32;
        self.gate.catch(self.request, side, passes).await.unwrap();
        self.gate.cut();
    }
}

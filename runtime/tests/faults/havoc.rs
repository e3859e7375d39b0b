//! Everything that can come between a source and the broker, in turn.

use super::{
    flow::Flow,
    harness::{
        broker_process::BrokerProcess,
        daemon::Daemon,
        gate::{Gate, Request, Side},
    },
    run::Run,
};

/// A broker behind a gate, and the daemon that uses it.
pub struct Havoc<'a> {
    pub broker: BrokerProcess,
    pub gate: Gate,
    pub flow: &'a Flow,
    /// What is cut short.
    pub request: Request,
}

impl Havoc<'_> {
    /// The broker does not get a request, or nobody hears that it did; it dies; the daemon dies; the daemon is stopped. Returns the
    /// daemon that runs then.
    pub async fn strike(&mut self, round: u64, mut daemon: Daemon, run: &mut Run) -> Daemon {
        match round % 5 {
            0 => self.cut(Side::Before, run).await,
            1 => self.cut(Side::After, run).await,
            2 => {
                self.broker.kill().await;
                self.broker.again().await;
            }
            3 => {
                daemon.kill().await;
                daemon = self.flow.home.start().await;
            }
            _ => {
                daemon.interrupt().await;
                daemon = self.flow.home.start().await;
            }
        }
        run.tried();
        daemon
    }

    async fn cut(&self, side: Side, run: &mut Run) {
        let passes = run.draw(0..6) as u32;
        self.gate.catch(self.request, side, passes).await.unwrap();
        self.gate.cut();
    }
}

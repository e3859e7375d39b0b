//! What the daemon tells about itself: logs, and statistics of the process.

mod bridge;
mod cgroup;
pub mod export;
pub mod levels;
pub mod logging;
pub mod process;

//! The task with plugins that only pretend: what it does at each turn, and a model of it under random commands.

mod activations;
mod acts;
mod fake;
mod model;
mod slow;
mod trial;
mod turns;

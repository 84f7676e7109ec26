//! What the plan must do: situation by situation, and as properties of whole lives in a small simulated world.

mod adopt;
mod create;
mod delete;
mod delete_job;
mod expiry;
mod fields;
mod fixture;
mod lives;
mod newer;
mod ready;
mod recreate;
mod settled;
mod world;

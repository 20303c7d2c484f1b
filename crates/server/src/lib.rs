//! The control plane: REST for people and programs, the agent side for delegates, and the engine
//! that drives pipelines between them.

pub mod admin_token;
pub mod agent;
pub mod app;
mod clock;
pub mod config;
pub mod delegates;
pub mod engine;
mod entities;
pub mod hub;
pub mod keys;
pub mod metrics;
pub mod problem;
pub mod retention;
pub mod sealing;
pub mod server;
pub mod signals;
pub mod tasks;
pub mod telemetry;
pub mod tokens;
pub mod web;

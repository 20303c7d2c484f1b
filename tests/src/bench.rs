//! Measurements in one form: a table for people, a document for machines.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::examples::repository;

/// The rows of one benchmark.
#[derive(Debug)]
pub struct Bench {
    name: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    measure: String,
    value: f64,
    unit: &'static str,
    budget: Option<f64>,
    n: usize,
    spread: f64,
}

impl Bench {
    /// A benchmark called `name`.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            rows: Vec::new(),
        }
    }

    /// The median of `samples` against a budget that it must not exceed; the spread is largest minus smallest.
    pub fn median(
        &mut self,
        measure: &str,
        samples: &[f64],
        unit: &'static str,
        budget: Option<f64>,
    ) {
        self.quantile(measure, samples, 0.5, unit, budget);
    }

    /// A quantile of `samples` against a budget.
    pub fn quantile(
        &mut self,
        measure: &str,
        samples: &[f64],
        quantile: f64,
        unit: &'static str,
        budget: Option<f64>,
    ) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
            return;
        };
        let spread = last - first;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a few samples"
        )]
        let index = ((sorted.len() - 1) as f64 * quantile).round() as usize;
        let value = sorted[index];
        let (measure, n) = (measure.to_owned(), sorted.len());
        self.rows.push(Row {
            measure,
            value,
            unit,
            budget,
            n,
            spread,
        });
    }

    /// Print the table and write `target/bench/NAME.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    #[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
    pub fn report(&self) -> Result<()> {
        println!(
            "{:44} {:>10} {:6} {:>10} {:>5} {:>4} {:>9}",
            self.name, "value", "unit", "budget", "met", "n", "spread"
        );
        for row in &self.rows {
            let budget = row
                .budget
                .map(|budget| format!("{budget:.1}"))
                .unwrap_or_default();
            let met = row
                .met()
                .map(|met| if met { "yes" } else { "MISSED" })
                .unwrap_or_default();
            let Row {
                measure,
                value,
                unit,
                n,
                spread,
                ..
            } = row;
            println!(
                "{measure:44} {value:>10.2} {unit:6} {budget:>10} {met:>5} {n:>4} {spread:>9.2}"
            );
        }
        let folder = repository().join("target/bench");
        std::fs::create_dir_all(&folder).context("make target/bench")?;
        let rows: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        let document =
            json!({"name": self.name, "commit": commit(), "machine": machine(), "rows": rows});
        let text = serde_json::to_string_pretty(&document).context("write the result")?;
        std::fs::write(folder.join(format!("{}.json", self.name)), text).context("write the result")
    }
}

/// The median of samples; of an even number of them the lower one.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

impl Row {
    fn met(&self) -> Option<bool> {
        self.budget.map(|budget| self.value <= budget)
    }

    fn to_json(&self) -> Value {
        json!({"measure": self.measure, "value": self.value, "unit": self.unit, "budget": self.budget,
            "met": self.met(), "n": self.n, "spread": self.spread})
    }
}

fn commit() -> String {
    let output = std::process::Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(": ")
            .map(|(_, name)| name)
    });
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores, {}", model.unwrap_or("unknown"))
}

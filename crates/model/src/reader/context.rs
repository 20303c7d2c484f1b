//! What reading one file collects.

use crate::entity::{Kind, Unsupported};
use crate::expressions;
use crate::field::is_runtime_input;
use crate::path;
use crate::position::Position;
use crate::problem::{Code, Problem, Severity};
use crate::reference::{EntityRef, Reference};
use crate::yaml::Node;

/// Findings of one file, and references and unsupported parts of the entity that is being read.
pub(crate) struct Context<'t> {
    file: &'t str,
    source: &'t str,
    limit: usize,
    pub(crate) problems: Vec<Problem>,
    pub(crate) references: Vec<Reference>,
    pub(crate) unsupported: Vec<Unsupported>,
}

impl<'t> Context<'t> {
    pub(crate) fn new(file: &'t str, source: &'t str, limit: usize) -> Self {
        Self {
            file,
            source,
            limit,
            problems: Vec::new(),
            references: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    pub(crate) fn error(
        &mut self,
        code: Code,
        path: &str,
        at: Position,
        message: impl Into<String>,
    ) {
        self.problem(Severity::Error, code, path, at, message.into());
    }

    pub(crate) fn warn(
        &mut self,
        code: Code,
        path: &str,
        at: Position,
        message: impl Into<String>,
    ) {
        self.problem(Severity::Warning, code, path, at, message.into());
    }

    fn problem(
        &mut self,
        severity: Severity,
        code: Code,
        path: &str,
        at: Position,
        message: String,
    ) {
        let (code, message) = match self.problems.len() {
            count if count < self.limit => (code, message),
            // What follows may be an error, so the end of the list is one.
            count if count == self.limit => (
                Code::MoreProblems,
                "there are more findings; mend these first".to_owned(),
            ),
            _ => return,
        };
        let severity = if code == Code::MoreProblems {
            Severity::Error
        } else {
            severity
        };
        self.problems.push(Problem {
            severity,
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            path: path.to_owned(),
            code,
            message,
        });
    }

    /// Whether more findings would not be kept: costly searches can be left out.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() > self.limit
    }

    /// Notes that something is stored but makes a run impossible.
    pub(crate) fn not_runnable(&mut self, code: Code, path: &str, at: Position, message: String) {
        if self.unsupported.len() < self.limit {
            self.unsupported.push(Unsupported {
                code,
                path: path.to_owned(),
                position: at,
                message: message.clone(),
            });
        }
        self.warn(code, path, at, message);
    }

    pub(crate) fn refer(
        &mut self,
        kind: Kind,
        target: EntityRef,
        environment: Option<String>,
        path: String,
        position: Position,
    ) {
        self.references.push(Reference {
            kind,
            target,
            environment,
            path,
            position,
        });
    }

    /// Checks the expressions of a scalar that has some.
    pub(crate) fn check_expressions(&mut self, node: &Node, text: &str, path: &str) {
        match expressions::check(text) {
            Ok(secrets) => {
                for (offset, target) in secrets {
                    let at = expressions::place(self.source, node, text, offset);
                    self.refer(Kind::Secret, target, None, path.to_owned(), at);
                }
            }
            Err(fault) => {
                let at = expressions::place(self.source, node, text, fault.offset);
                self.error(Code::InvalidExpression, path, at, fault.message);
            }
        }
    }

    /// Notes a runtime input where only fixed values and expressions can be used yet.
    pub(crate) fn runtime_input(&mut self, node: &Node, text: &str, path: &str) -> bool {
        let is_input = is_runtime_input(text);
        if is_input {
            let message = format!(
                "`{}` is a runtime input, which cannot be supplied here yet; use a pipeline variable, such as \
                 `<+pipeline.variables.…>`",
                path::clip(text)
            );
            self.not_runnable(Code::RuntimeInput, path, node.position, message);
        }
        is_input
    }
}

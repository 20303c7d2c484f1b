//! Which execution is meant: its id or the beginning of it, the run number of a pipeline, or the newest run.

use std::fmt::Write as _;

use super::Remote;
use crate::args::{ExecutionArgs, Level};
use crate::client::wire::{ExecutionPage, ExecutionSummary};
use crate::client::{Client, Request};
use crate::exit::{Exit, Explain, Failure};
use crate::style::harmless;

/// Shortest beginning of an id that is looked for.
const SHORTEST: usize = 4;

/// Executions per request; also the most that a control plane gives.
const PAGE: u32 = 500;

/// Most requests for one run number: the newest 10 000 runs of a pipeline.
const PAGES: usize = 20;

/// Executions that are named when several are meant.
const SHOWN: u32 = 10;

/// The last id there can be; the rest of it makes the beginning of an id the last id that begins so.
const LAST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// What a person typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A whole id, of any project.
    Id(String),
    /// The beginning of an id.
    Beginning(String),
    /// A run of a pipeline.
    Run { pipeline: String, number: i64 },
    /// The newest run of this pipeline, or of any.
    Newest { pipeline: Option<String> },
}

/// There is no such execution, or more than one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot {what}: {beginning} is too short for the beginning of an id")]
    TooShort { what: String, beginning: String },
    #[error("cannot {what}: {text} is no run number")]
    Number { what: String, text: String },
    #[error("cannot {what}: --latest goes with a pipeline, and {given} names one execution")]
    NotAPipeline { what: String, given: String },
    #[error("cannot {what}: which execution is not said")]
    Unsaid { what: String },
    #[error("cannot {what}: there is no execution whose id begins with {beginning}")]
    NoBeginning { what: String, beginning: String },
    #[error("cannot {what}: pipeline {pipeline} has no run #{number}")]
    NoRun {
        what: String,
        pipeline: String,
        number: i64,
        newest: Option<i64>,
    },
    #[error("cannot {what}: there is no execution{}", of(pipeline.as_deref()))]
    NoneYet {
        what: String,
        pipeline: Option<String>,
    },
    #[error("cannot {what}: several executions have an id that begins with {beginning}")]
    Several {
        what: String,
        beginning: String,
        found: Vec<(String, i64, String)>,
        more: bool,
    },
}

fn of(pipeline: Option<&str>) -> String {
    pipeline.map_or_else(String::new, |pipeline| format!(" of pipeline {pipeline}"))
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::TooShort { .. }
            | Self::Number { .. }
            | Self::NotAPipeline { .. }
            | Self::Unsaid { .. }
            | Self::Several { .. } => Exit::Usage,
            Self::NoBeginning { .. } | Self::NoRun { .. } | Self::NoneYet { .. } => Exit::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. }
            | Self::Number { .. }
            | Self::NotAPipeline { .. }
            | Self::Unsaid { .. } => "SRT-Z001",
            Self::NoBeginning { .. } | Self::NoRun { .. } | Self::NoneYet { .. } => "SRT-Z012",
            Self::Several { .. } => "SRT-Z013",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooShort { .. } => format!("give at least {SHORTEST} characters"),
            Self::Number { .. } => "write it as PIPELINE#NUMBER, for example hello#3".to_owned(),
            Self::NotAPipeline { .. } => "leave --latest out, or name a pipeline".to_owned(),
            Self::Unsaid { .. } => {
                "name it as ID or PIPELINE#NUMBER, or say --latest for the newest run".to_owned()
            }
            Self::NoRun {
                newest: Some(newest),
                pipeline,
                ..
            } => format!("its newest run is {pipeline}#{newest}"),
            Self::NoBeginning { .. } | Self::NoRun { .. } | Self::NoneYet { .. } => {
                "`sortie get executions` lists those of the project; --org and --project name another one"
                    .to_owned()
            }
            Self::Several { found, more, .. } => {
                let mut hint = "give more of the id, or name one of ".to_owned();
                for (place, (pipeline, number, id)) in found.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    let _fits = write!(hint, "{comma}{pipeline}#{number} ({id})");
                }
                if *more {
                    hint.push_str(", and more");
                }
                hint
            }
        })
    }
}

impl Reference {
    /// Reads what was typed; to do `what`. Nothing means the newest run of all.
    ///
    /// An id begins with a digit, the identifier of a pipeline never does.
    pub(super) fn parse(what: &str, given: Option<&str>, latest: bool) -> Result<Self, Error> {
        let what = what.to_owned();
        let Some(given) = given else {
            return Ok(Self::Newest { pipeline: None });
        };
        let run = given.rsplit_once('#');
        let is_id = given.starts_with(|c: char| c.is_ascii_digit());
        let given = given.to_owned();
        match (run, is_id) {
            (Some(_), _) | (_, true) if latest => Err(Error::NotAPipeline { what, given }),
            (Some((pipeline, number)), _) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                let number = number.filter(|_| !pipeline.is_empty());
                let pipeline = pipeline.to_owned();
                number
                    .map(|number| Self::Run { pipeline, number })
                    .ok_or(Error::Number { what, text: given })
            }
            (None, true) if given.len() < SHORTEST => Err(Error::TooShort {
                what,
                beginning: given,
            }),
            (None, true) if begins_an_id(&given) && given.len() < LAST.len() => {
                Ok(Self::Beginning(given))
            }
            // Also what is no id at all: the control plane says so.
            (None, true) => Ok(Self::Id(given)),
            (None, false) => Ok(Self::Newest {
                pipeline: Some(given),
            }),
        }
    }

    /// The id of the execution. Asks the control plane unless it is known.
    async fn resolve(self, remote: &Remote, what: &str) -> Result<Found, Failure> {
        match self {
            Self::Id(id) => Ok(Found { id, shown: None }),
            Self::Beginning(beginning) => by_beginning(remote, what, beginning).await,
            Self::Run { pipeline, number } => by_number(remote, what, pipeline, number).await,
            Self::Newest { pipeline } => newest(remote, what, pipeline).await,
        }
    }
}

/// An execution that was found.
#[derive(Debug)]
struct Found {
    id: String,
    /// What to tell a person who did not name it.
    shown: Option<String>,
}

/// The id of the execution that the arguments mean, to do `verb` to it. What was not named is told.
pub(super) async fn find(
    remote: &Remote,
    verb: &str,
    args: &ExecutionArgs,
) -> Result<String, Failure> {
    let what = match &args.execution {
        Some(given) => format!("{verb} execution {given}"),
        None => format!("{verb} the newest execution"),
    };
    let reference = Reference::parse(&what, args.execution.as_deref(), args.latest)?;
    let found = reference.resolve(remote, &what).await?;
    if let Some(shown) = found.shown {
        crate::print::note(&shown);
    }
    Ok(found.id)
}

/// The same for what must not be done to an execution that nobody named: --latest says that it is meant.
pub(super) async fn find_named(
    remote: &Remote,
    verb: &str,
    args: &ExecutionArgs,
) -> Result<String, Failure> {
    let what = format!("{verb} an execution");
    let reference = Reference::parse(&what, args.execution.as_deref(), args.latest)?;
    if matches!(reference, Reference::Newest { .. }) && !args.latest {
        return Err(Error::Unsaid { what }.into());
    }
    find(remote, verb, args).await
}

async fn by_beginning(remote: &Remote, what: &str, beginning: String) -> Result<Found, Failure> {
    let beginning = beginning.to_ascii_lowercase();
    let last = LAST.get(beginning.len()..).unwrap_or_default();
    let mut query = remote.scope(Level::Project);
    query.push(("before", format!("{beginning}{last}")));
    query.push(("limit", (SHOWN + 1).to_string()));
    let page = page(&remote.client, what, query).await?;
    let mut found: Vec<ExecutionSummary> = page.items;
    found.retain(|execution| execution.id.starts_with(&beginning));
    let what = what.to_owned();
    match found.len() {
        0 => Err(Error::NoBeginning { what, beginning }.into()),
        1 => Ok(Found {
            id: found.swap_remove(0).id,
            shown: None,
        }),
        number => {
            let most = usize::try_from(SHOWN).unwrap_or(usize::MAX);
            found.truncate(most);
            let name = |one: ExecutionSummary| (one.pipeline, one.sequence, one.id);
            Err(Error::Several {
                what,
                beginning,
                found: found.into_iter().map(name).collect(),
                more: number > most,
            }
            .into())
        }
    }
}

async fn by_number(
    remote: &Remote,
    what: &str,
    pipeline: String,
    number: i64,
) -> Result<Found, Failure> {
    let (mut newest, mut before) = (None, None);
    for _ in 0..PAGES {
        let mut query = remote.scope(Level::Project);
        query.push(("pipeline", pipeline.clone()));
        query.push(("limit", PAGE.to_string()));
        query.extend(before.map(|before| ("before", before)));
        let page = page(&remote.client, what, query).await?;
        newest = newest.or_else(|| page.items.first().map(|run| run.sequence));
        let found = page.items.iter().find(|run| run.sequence == number);
        if let Some(found) = found {
            return Ok(Found {
                id: found.id.clone(),
                shown: None,
            });
        }
        // Newest first: what follows has lower numbers still.
        let passed = page.items.last().is_none_or(|run| run.sequence < number);
        match page.next {
            Some(next) if !passed => before = Some(next),
            _ => break,
        }
    }
    Err(Error::NoRun {
        what: what.to_owned(),
        pipeline,
        number,
        newest,
    }
    .into())
}

async fn newest(remote: &Remote, what: &str, pipeline: Option<String>) -> Result<Found, Failure> {
    let mut query = remote.scope(Level::Project);
    query.extend(pipeline.clone().map(|pipeline| ("pipeline", pipeline)));
    query.push(("limit", "1".to_owned()));
    let page = page(&remote.client, what, query).await?;
    let what = what.to_owned();
    let found = page.items.into_iter().next();
    let found = found.ok_or(Error::NoneYet { what, pipeline })?;
    let shown = format!(
        "{} #{} is execution {}",
        found.pipeline, found.sequence, found.id
    );
    Ok(Found {
        id: found.id,
        shown: Some(harmless(&shown)),
    })
}

async fn page(
    client: &Client,
    what: &str,
    query: Vec<(&str, String)>,
) -> Result<ExecutionPage, Failure> {
    let request = Request::get(what, &["executions"]).query(query);
    client.fetch(request).await
}

/// Whether an id may begin so: hexadecimal digits, with dashes where ids have them.
fn begins_an_id(text: &str) -> bool {
    text.len() <= LAST.len()
        && text.chars().zip(LAST.chars()).all(|(c, place)| {
            if place == '-' {
                c == '-'
            } else {
                c.is_ascii_hexdigit()
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_told_apart() {
        let run = |pipeline: &str, number| Reference::Run {
            pipeline: pipeline.to_owned(),
            number,
        };
        let newest = |pipeline: Option<&str>| Reference::Newest {
            pipeline: pipeline.map(str::to_owned),
        };
        let whole = "01a20716-ae88-70df-8551-2fe439695a1b";
        let table = [
            (None, false, newest(None)),
            (None, true, newest(None)),
            (Some("hello"), false, newest(Some("hello"))),
            (Some("hello"), true, newest(Some("hello"))),
            // Hexadecimal, and a pipeline all the same: ids begin with a digit.
            (Some("deed"), false, newest(Some("deed"))),
            (Some("hello#3"), false, run("hello", 3)),
            (Some("01a2"), false, Reference::Beginning("01a2".to_owned())),
            (
                Some("01A20716-ae88-7"),
                false,
                Reference::Beginning("01A20716-ae88-7".to_owned()),
            ),
            (Some(whole), false, Reference::Id(whole.to_owned())),
            (
                Some("0190-none"),
                false,
                Reference::Id("0190-none".to_owned()),
            ),
        ];
        for (given, latest, reference) in table {
            let parsed = Reference::parse("watch", given, latest).unwrap();
            assert_eq!(parsed, reference, "{given:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (given, latest) in [
            ("01a", false),
            ("0", false),
            ("hello#", false),
            ("hello#x", false),
            ("hello#0", false),
            ("hello#-1", false),
            ("#3", false),
            ("hello#3", true),
            ("01a20716", true),
        ] {
            let error = Reference::parse("watch", Some(given), latest).unwrap_err();
            assert_eq!(
                (error.exit(), error.code()),
                (Exit::Usage, "SRT-Z001"),
                "{given}"
            );
        }
    }

    #[test]
    fn a_beginning_has_its_dashes_where_ids_have_them() {
        for good in ["01a2", "01a20716", "01a20716-", "01a20716-ae88-70df"] {
            assert!(begins_an_id(good), "{good}");
        }
        for bad in ["01a2-0716", "01a20716a", "01g2", &"0".repeat(99)] {
            assert!(!begins_an_id(bad), "{bad}");
        }
    }
}

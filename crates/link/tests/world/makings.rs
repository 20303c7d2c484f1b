//! Sessions and messages as the world makes them.

use sortie_link::delegate::{self, Command, Greeting};
use sortie_link::task::Standing;
use sortie_link::{End, Holder, Outcome, Payload, Settings, TaskRef};

pub(super) fn boot(instance: &str, number: u32) -> delegate::Session {
    let greeting = Greeting {
        holder: Holder {
            delegate: "d".into(),
            instance: instance.into(),
            boot: format!("b{number}").into(),
        },
        software_version: String::new(),
        task_types: vec![],
        capabilities: vec![],
        capacity: 3,
        tags: vec![],
        sealing_key: vec![],
    };
    delegate::Session::new(greeting, Settings::default())
}

pub(super) fn finished(task: TaskRef, end: End) -> Command {
    Command::Finish {
        task,
        outcome: Outcome {
            end,
            payload: Payload::from([]),
        },
    }
}

pub(super) fn is_open(standing: &Standing) -> bool {
    !matches!(standing, Standing::Ended { .. })
}

//! Names that a task asks the control plane for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prost::Message as _;
use secrecy::SecretString;
use sortie_link::TaskRef;
use sortie_link::delegate::Command;
use sortie_proto::v1;
use sortie_step::{Resolution, Resolver, Unanswered};
use tokio::sync::{mpsc, oneshot};

use crate::link::SealingKey;

/// Names in one request.
const MAX_NAMES: usize = 256;

/// How long an answer is waited for, without a session too: a server may be restarting.
const PATIENCE: Duration = Duration::from_secs(300);

/// Questions under way, by request id.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    waiting: Mutex<HashMap<String, oneshot::Sender<v1::ResolveResponse>>>,
}

impl Asked {
    /// An answer came.
    pub(crate) fn answer(&self, request: &str, payload: &[u8]) {
        let Some(waiting) = self.lock().remove(request) else {
            return;
        };
        match v1::ResolveResponse::decode(payload) {
            // Whoever asked may have ended meanwhile.
            Ok(answer) => drop(waiting.send(answer)),
            Err(_) => drop(waiting),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<v1::ResolveResponse>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for one task.
#[derive(Debug)]
pub struct Questions {
    task: TaskRef,
    commands: mpsc::Sender<Command>,
    asked: Arc<Asked>,
    key: Arc<SealingKey>,
}

impl Questions {
    pub(crate) const fn new(
        task: TaskRef,
        commands: mpsc::Sender<Command>,
        asked: Arc<Asked>,
        key: Arc<SealingKey>,
    ) -> Self {
        Self {
            task,
            commands,
            asked,
            key,
        }
    }

    async fn ask(&self, names: &[String]) -> Result<Vec<v1::Resolved>, Unanswered> {
        let request = uuid::Uuid::new_v4().simple().to_string();
        let (sender, receiver) = oneshot::channel();
        self.asked.lock().insert(request.clone(), sender);
        let forget = Forget {
            asked: &self.asked,
            request: &request,
        };
        let command = Command::Resolve {
            task: self.task.clone(),
            request: request.clone(),
            names: names.to_vec(),
        };
        let unanswered = |reason: String| Unanswered { reason };
        let asking = async {
            self.commands
                .send(command)
                .await
                .map_err(|_| unanswered("the link has ended".into()))?;
            receiver
                .await
                .map_err(|_| unanswered("the answer cannot be read".into()))
        };
        let answer = tokio::time::timeout(PATIENCE, asking)
            .await
            .map_err(|_| unanswered(format!("no answer within {} s", PATIENCE.as_secs())))??;
        drop(forget);
        if answer.values.len() != names.len() {
            return Err(unanswered("the answer does not fit the question".into()));
        }
        Ok(answer.values)
    }

    fn read(&self, name: &str, resolved: v1::Resolved) -> Result<Resolution, Unanswered> {
        use v1::resolved::Answer;
        let unreadable = |what: &str| Unanswered {
            reason: format!("{what} for {name}"),
        };
        if resolved.name != name {
            return Err(unreadable("another value came"));
        }
        Ok(match resolved.answer {
            Some(Answer::ValueJson(json)) => {
                let value = serde_json::from_str(&json);
                Resolution::Value(value.map_err(|_| unreadable("malformed JSON came"))?)
            }
            Some(Answer::Sealed(sealed)) => {
                let plain =
                    self.key
                        .open(&self.task, name, &sealed)
                        .map_err(|error| Unanswered {
                            reason: error.to_string(),
                        })?;
                let text = std::str::from_utf8(&plain);
                let text = text.map_err(|_| unreadable("a secret that is not text came"))?;
                Resolution::Secret(SecretString::from(text))
            }
            Some(Answer::Denied(denied)) => Resolution::Denied(denied.reason),
            Some(Answer::Undefined(_)) => Resolution::Undefined,
            None => return Err(unreadable("an answer of a newer protocol came")),
        })
    }
}

#[async_trait]
impl Resolver for Questions {
    async fn resolve(&self, names: &[String]) -> Result<Vec<Resolution>, Unanswered> {
        let mut resolutions = Vec::with_capacity(names.len());
        for names in names.chunks(MAX_NAMES) {
            let answers = self.ask(names).await?;
            for (name, resolved) in names.iter().zip(answers) {
                resolutions.push(self.read(name, resolved)?);
            }
        }
        Ok(resolutions)
    }
}

/// Whoever asks may be dropped at any time.
struct Forget<'a> {
    asked: &'a Asked,
    request: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.asked.lock().remove(self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> (Questions, mpsc::Receiver<Command>, Arc<Asked>) {
        let (commands, receiver) = mpsc::channel(4);
        let asked = Arc::new(Asked::default());
        let key = Arc::new(SealingKey::generate().unwrap());
        (
            Questions::new(TaskRef::new("t", 1), commands, Arc::clone(&asked), key),
            receiver,
            asked,
        )
    }

    fn resolved(name: &str, answer: v1::resolved::Answer) -> v1::Resolved {
        v1::Resolved {
            name: name.into(),
            answer: Some(answer),
        }
    }

    async fn ask(
        names: &[&str],
        answers: Vec<v1::Resolved>,
    ) -> Result<Vec<Resolution>, Unanswered> {
        let (questions, mut commands, asked) = questions();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let answering = async {
            let Some(Command::Resolve { request, .. }) = commands.recv().await else {
                panic!("no question")
            };
            let answer = v1::ResolveResponse {
                values: answers,
                ..Default::default()
            };
            asked.answer(&request, &answer.encode_to_vec());
        };
        let (resolutions, ()) = tokio::join!(questions.resolve(&names), answering);
        assert!(asked.lock().is_empty(), "nothing is left behind");
        resolutions
    }

    #[tokio::test]
    async fn answers_are_given_in_the_order_of_the_names() {
        use v1::resolved::Answer;
        let answers = vec![
            resolved("a", Answer::ValueJson("{\"x\": 1}".into())),
            resolved("b", Answer::Undefined(v1::Undefined {})),
            resolved(
                "c",
                Answer::Denied(v1::Denied {
                    reason: "not yours".into(),
                }),
            ),
        ];
        let resolutions = ask(&["a", "b", "c"], answers).await.unwrap();
        let [
            Resolution::Value(value),
            Resolution::Undefined,
            Resolution::Denied(reason),
        ] = resolutions.as_slice()
        else {
            panic!("{resolutions:?}")
        };
        assert_eq!((&value["x"], reason.as_str()), (&1.into(), "not yours"));
    }

    #[tokio::test]
    async fn answers_that_do_not_fit_are_none() {
        use v1::resolved::Answer;
        let value = |name| resolved(name, Answer::ValueJson("1".into()));
        assert!(ask(&["a", "b"], vec![value("a")]).await.is_err());
        assert!(ask(&["a"], vec![value("b")]).await.is_err());
        let malformed = resolved("a", Answer::ValueJson("{".into()));
        assert!(ask(&["a"], vec![malformed]).await.is_err());
        let sealed = resolved("a", Answer::Sealed(v1::Sealed::default()));
        assert!(ask(&["a"], vec![sealed]).await.is_err());
    }
}

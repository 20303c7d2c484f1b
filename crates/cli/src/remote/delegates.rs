//! `sortie delegate token create`, `sortie delegate revoke` and `sortie get delegate`.

use std::time::Duration;

use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Remote;
use crate::args::{DelegateRevoke, DelegateTokenCreate, Get, Level, Output, ScopeArgs};
use crate::client::wire::{Delegate, JoinToken};
use crate::client::{Body, Request};
use crate::exit::{Exit, Failure, Result};
use crate::style::harmless;
use crate::{Surroundings, duration, print};

/// Make a join token and print it once, alone on stdout.
pub(crate) async fn create_token(args: &DelegateTokenCreate, around: &Surroundings) -> Result {
    let DelegateTokenCreate {
        scope,
        level,
        name,
        label,
        uses,
        expires_in,
    } = args;
    let remote = Remote::connect(around, scope)?;
    let wanted = NewToken {
        level: *level,
        name: name.as_deref(),
        label,
        uses: *uses,
        life: *expires_in,
    };
    let made = make_token(&remote, wanted).await?;
    match around.output {
        Output::Json => print::json(&json!({
            "id": made.id, "token": made.token.expose_secret(),
            "expiresAt": made.expires_at, "maxUses": made.max_uses, "name": name,
        })),
        Output::Text => {
            print::line(made.token.expose_secret());
            print::note(&format!(
                "join token {}: for {}, until {}; it is not shown again",
                harmless(&made.id),
                match (made.max_uses, name) {
                    (1, None) => "one delegate".to_owned(),
                    (uses, None) => format!("{uses} delegates"),
                    (_, Some(name)) => format!("delegate {}", harmless(name)),
                },
                print::time(made.expires_at)
            ));
        }
    }
    Ok(Exit::Done)
}

/// A join token to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewToken<'a> {
    /// What the delegate serves.
    pub(crate) level: Level,
    /// The only name that a delegate may join under.
    pub(crate) name: Option<&'a str>,
    /// What it is for.
    pub(crate) label: &'a str,
    /// How many delegates may join with it.
    pub(crate) uses: u32,
    /// How long, in whole hours.
    pub(crate) life: Duration,
}

/// Asks the control plane for a join token.
pub(crate) async fn make_token(remote: &Remote, wanted: NewToken<'_>) -> Result<JoinToken> {
    let NewToken {
        level,
        name,
        label,
        uses,
        life,
    } = wanted;
    let hours = life.as_secs() / duration::HOUR;
    let mut body = json!({ "label": label, "maxUses": uses, "hours": hours });
    if let Some(name) = name {
        body["name"] = Value::from(name);
    }
    for (name, value) in remote.scope(level) {
        body[name] = Value::String(value);
    }
    let request = Request::new("make a join token", Method::POST, &["delegate-tokens"]);
    remote.client.fetch(request.body(Body::Json(&body))).await
}

/// Ends a join token that another one replaces. One that is not there any more is as good.
pub(crate) async fn replace_token(remote: &Remote, id: &str) -> Result<()> {
    let path = ["delegate-tokens", id];
    let request = Request::new("revoke the former join token", Method::DELETE, &path);
    match remote.client.send(request).await {
        Err(failure) if failure.exit != Exit::NotFound => Err(failure),
        _ => Ok(()),
    }
}

/// Cut a delegate off.
pub(crate) async fn revoke(args: &DelegateRevoke, around: &Surroundings) -> Result {
    let remote = Remote::connect(around, &ScopeArgs::default())?;
    let what = format!("revoke delegate {}", args.delegate);
    let (delegate, _) = find(&remote, &what, &args.delegate).await?;
    let path = ["delegates", delegate.id.as_str(), "revoke"];
    remote
        .client
        .send(Request::new(&what, Method::POST, &path).body(Body::Json(&json!({}))))
        .await?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "id": delegate.id, "name": delegate.name, "outcome": "revoked" }))
        }
        Output::Text => print::line(&harmless(&format!(
            "delegate {} ({}) revoked",
            delegate.name, delegate.id
        ))),
    }
    Ok(Exit::Done)
}

/// The delegates of this name: their ids, and whether each is revoked.
pub(crate) async fn of_name(remote: &Remote, name: &str) -> Result<Vec<(String, bool)>> {
    let listed = list(remote, "list delegates").await?.into_iter();
    let of_this_name = listed.filter(|(delegate, _)| delegate.name == name);
    Ok(of_this_name
        .map(|(delegate, _)| (delegate.id, delegate.revoked_at.is_some()))
        .collect())
}

/// One delegate, or all of them.
pub(super) async fn get(remote: &Remote, args: &Get, around: &Surroundings) -> Result {
    let (rows, json) = match &args.id {
        Some(id) => {
            let (delegate, value) = find(remote, &format!("get delegate {id}"), id).await?;
            (vec![row(delegate)], value)
        }
        None => {
            let mut listed = list(remote, "list delegates").await?;
            listed.retain(|(delegate, _)| args.all || delegate.revoked_at.is_none());
            let (delegates, values): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
            (
                delegates.into_iter().map(row).collect(),
                json!({ "items": values }),
            )
        }
    };
    match around.output {
        Output::Json => print::json(&json),
        Output::Text if rows.is_empty() => {
            print::note(
                "No delegates yet. Install one with `sortie delegate install NAME --agent URL`",
            );
        }
        Output::Text => {
            let header = [
                "NAME",
                "STATE",
                "SERVES",
                "INSTANCES",
                "TASKS",
                "VERSION",
                "ENROLLED",
                "ID",
            ];
            print::rows(&header, &rows);
        }
    }
    Ok(Exit::Done)
}

fn row(delegate: Delegate) -> Vec<String> {
    let Delegate {
        id,
        name,
        org,
        project,
        connected,
        enrolled_at,
        revoked_at,
        sessions,
    } = delegate;
    let serves = match (org, project) {
        (Some(org), Some(project)) => format!("{org}/{project}"),
        (Some(org), None) => org,
        _ => "account".to_owned(),
    };
    let state = match (revoked_at, connected) {
        (Some(_), _) => "revoked",
        (None, true) => "connected",
        (None, false) => "away",
    };
    let running: u32 = sessions.iter().map(|session| session.running).sum();
    let capacity: u32 = sessions.iter().map(|session| session.capacity).sum();
    let version = sessions
        .first()
        .map_or_else(String::new, |session| session.version.clone());
    vec![
        name,
        state.to_owned(),
        serves,
        sessions.len().to_string(),
        format!("{running}/{capacity}"),
        version,
        print::time(enrolled_at),
        id,
    ]
}

/// All of them, the revoked ones too.
async fn list(remote: &Remote, what: &str) -> Result<Vec<(Delegate, Value)>> {
    let all = vec![("all", "true".to_owned())];
    let request = Request::get(what, &["delegates"]).query(all);
    let values: Vec<Value> = remote.client.fetch(request).await?;
    let typed = |value: Value| Ok((remote.client.typed(what, value.clone())?, value));
    values.into_iter().map(typed).collect()
}

/// The delegate of this id, or the one of this name that is not revoked.
async fn find(remote: &Remote, what: &str, wanted: &str) -> Result<(Delegate, Value)> {
    let mut found = list(remote, what).await?;
    if let Some(place) = found.iter().position(|(delegate, _)| delegate.id == wanted) {
        return Ok(found.swap_remove(place));
    }
    found.retain(|(delegate, _)| delegate.name == wanted && delegate.revoked_at.is_none());
    let ids: Vec<&str> = found
        .iter()
        .map(|(delegate, _)| delegate.id.as_str())
        .collect();
    match (found.len(), ids.join(", ")) {
        (0, _) => Err(Failure::new(
            Exit::NotFound,
            format!("cannot {what}: there is no such delegate"),
        )
        .hint("`sortie get delegates` lists them")),
        (1, _) => Ok(found.swap_remove(0)),
        (_, ids) => Err(
            Failure::usage(format!("cannot {what}: several delegates have this name"))
                .hint(format!("name it by its id: {ids}")),
        ),
    }
}

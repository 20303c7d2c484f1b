//! `sortie login`: a token from stdin, tried out, and remembered.

use std::io::{IsTerminal as _, Read as _};

use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcsetattr,
};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::args::{Login, Output};
use crate::client::wire::WhoAmI;
use crate::client::{Client, Request, is_in_the_clear};
use crate::exit::{Exit, Failure, Result};
use crate::settings::{self, Settings};
use crate::stops::Stops;
use crate::{Surroundings, print};

/// Longest token that is read.
const LONGEST: u64 = 4096;

/// Read the token, ask the server whose it is, and keep both.
pub(crate) async fn run(args: &Login, around: &Surroundings) -> Result {
    let Login {
        server,
        org,
        project,
        ca_file,
    } = args;
    let path = settings::path(&around.environment)?;
    let mut stops = Stops::listen()?;
    let token = token(server, &mut stops).await?;
    let ca_file = ca_file
        .as_ref()
        .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let trusted = ca_file
        .clone()
        .or_else(|| around.environment.ca_file.clone());
    let client = Client::new(server, &token, trusted.as_deref())?;
    if is_in_the_clear(client.address()) {
        print::note(
            "warning: the address is http:// on another machine; the token can be read on the way",
        );
    }
    let who: WhoAmI = tokio::select! {
        () = stops.next() => return Err(interrupted()),
        who = client.fetch(Request::get("log in", &["whoami"])) => who?,
    };
    let settings = Settings {
        server: Some(client.address().to_owned()),
        token: Some(token),
        org: Some(org.clone()),
        project: Some(project.clone()),
        ca_file,
    };
    settings.save(&path)?;
    match around.output {
        Output::Json => print::json(&serde_json::json!({
            "server": client.address(), "user": who.user, "role": who.role, "settings": path,
        })),
        Output::Text => print::line(&format!(
            "logged in at {} as {} ({}); project {org}/{project}",
            client.address(),
            who.user,
            who.role
        )),
    }
    Ok(Exit::Done)
}

/// The token from stdin, asked for on a terminal.
async fn token(server: &str, stops: &mut Stops) -> Result<SecretString> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("cannot read the token from stdin: {error}"))
    };
    let asks = std::io::stdin().is_terminal();
    let hidden = asks.then(|| Hidden::asking(&format!("Token for {server}: ")));
    let hidden = hidden.transpose().map_err(unreadable)?;
    // A thread that still waits for keys is left behind when the program ends.
    let read = tokio::task::spawn_blocking(move || {
        if asks {
            return read_line(std::io::stdin().lock());
        }
        let mut text = Zeroizing::new(String::new());
        let mut limited = std::io::stdin().lock().take(LONGEST);
        limited.read_to_string(&mut text).map(|_| Some(text))
    });
    let text = tokio::select! {
        () = stops.next() => Ok(None),
        text = read => text.unwrap_or_else(|gone| Err(std::io::Error::other(gone))),
    };
    drop(hidden);
    let text = text.map_err(unreadable)?.ok_or_else(interrupted)?;
    let token = text.trim();
    if token.is_empty() {
        let hint = "the server prints the first one when it starts for the first time";
        return Err(Failure::usage("there is no token on stdin").hint(hint));
    }
    Ok(SecretString::from(token))
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn asking(question: &str) -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut hidden = before.clone();
        // Ctrl-C comes as a character, line by line is read by us.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden)?;
        let hidden = Self { before };
        print::question(question)?;
        Ok(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // What was typed and not read yet would be shown. Either fails when the terminal is gone, and then nobody is there
        // to see.
        let _gone = tcflush(std::io::stdin(), QueueSelector::IFlush);
        let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
        print::note("");
    }
}

/// One line of typed characters. `None`: Ctrl-C.
fn read_line(mut from: impl std::io::Read) -> std::io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(512));
    let mut byte = [0_u8];
    while u64::try_from(line.len()).unwrap_or(LONGEST) < LONGEST && from.read(&mut byte)? == 1 {
        match byte[0] {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => return Ok(None),
            0x08 | 0x7f => drop(line.pop()),
            // Ctrl-U: begin anew.
            0x15 => line.clear(),
            typed => line.push(typed),
        }
    }
    Ok(Some(Zeroizing::new(
        String::from_utf8_lossy(&line).into_owned(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_can_be_corrected_and_given_up() {
        let typed = |bytes: &[u8]| read_line(bytes).unwrap().map(|line| line.to_string());
        assert_eq!(typed(b"token\nrest").as_deref(), Some("token"));
        assert_eq!(typed(b"tokem\x7fn\r").as_deref(), Some("token"));
        assert_eq!(typed(b"wrong\x15token").as_deref(), Some("token"));
        assert_eq!(typed(b"token\x04").as_deref(), Some("token"));
        assert_eq!(typed(b"tok\x03"), None);
        assert_eq!(typed(b"").as_deref(), Some(""));
    }
}

//! `sortie login`: a token from stdin, tried out, and remembered.

use std::io::{IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::args::{Login, Output};
use crate::client::wire::WhoAmI;
use crate::client::{Client, Request, is_in_the_clear};
use crate::exit::{Exit, Failure, Result};
use crate::settings::{self, Settings};
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
    let token = token(server)?;
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
    let who: WhoAmI = client.fetch(Request::get("log in", &["whoami"])).await?;
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

fn token(server: &str) -> Result<SecretString> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot read the token from stdin: {error}"))
    };
    let text = if std::io::stdin().is_terminal() {
        ask(&format!("Token for {server}: ")).map_err(|error| unreadable(&error))?
    } else {
        let mut text = Zeroizing::new(String::new());
        let limited = std::io::stdin()
            .lock()
            .take(LONGEST)
            .read_to_string(&mut text);
        limited.map_err(|error| unreadable(&error))?;
        Some(text)
    };
    let Some(text) = text else {
        return Err(Failure::new(Exit::Interrupted, "interrupted"));
    };
    let token = text.trim();
    if token.is_empty() {
        let hint = "the server prints the first one when it starts for the first time";
        return Err(Failure::usage("there is no token on stdin").hint(hint));
    }
    Ok(SecretString::from(token))
}

/// Asks on the terminal, without showing what is typed. `None`: Ctrl-C.
fn ask(question: &str) -> std::io::Result<Option<Zeroizing<String>>> {
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let before = tcgetattr(std::io::stdin())?;
    let mut hidden = before.clone();
    // Ctrl-C comes as a character, so that the terminal is never left without echo.
    hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
    hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden)?;
    let typed = read_line(std::io::stdin().lock());
    tcsetattr(std::io::stdin(), OptionalActions::Now, &before)?;
    writeln!(terminal)?;
    typed
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

//! `sortie completion`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;

/// Print the script.
pub(crate) fn run(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sortie", &mut script);
    crate::print::line(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

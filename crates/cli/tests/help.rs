//! The help pages as people see them: a change of one is seen in a review.
#![allow(clippy::unwrap_used, clippy::panic)]

use clap::{Command, CommandFactory as _};
use sortie_cli::args::Cli;

fn pages(command: &mut Command, name: &str, pages: &mut Vec<(String, String)>) {
    pages.push((name.to_owned(), command.render_help().to_string()));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for sub in names.iter().filter(|name| *name != "help") {
        let child = command.find_subcommand_mut(sub).unwrap();
        self::pages(child, &format!("{name} {sub}"), pages);
    }
}

#[test]
fn help_pages() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut found = Vec::new();
    pages(&mut command, "sortie", &mut found);
    let text: Vec<String> = found
        .into_iter()
        .map(|(name, page)| format!("━━━ {name}\n{page}"))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn no_argument_takes_a_secret() {
    fn look(command: &Command) {
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            for word in ["token", "password", "secret_value"] {
                let allowed = name == "secret_value_stdin" || name.ends_with("_file");
                assert!(
                    allowed || !name.contains(word),
                    "{} --{name}",
                    command.get_name()
                );
            }
        }
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}

#[test]
fn every_verb_has_an_example_or_nothing_to_show() {
    fn look(command: &Command) {
        let leaf = command.get_subcommands().next().is_none();
        assert!(
            !leaf || command.get_after_help().is_some(),
            "{} has no example",
            command.get_name()
        );
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

//! The command line, with the environment's variables as its defaults.
//!
//! clap treats a variable like a flag. Here a flag wins, over its own variable and over those of flags that it
//! excludes. An empty variable counts as unset, a switch accepts 1, true, yes and on, and an error in a variable names
//! the variable.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Parser};

/// The reason why a command line is refused.
pub enum Refused {
    /// The command line as typed is wrong, or asks for help.
    CommandLine(clap::Error),
    /// A variable of the environment is wrong.
    Variable {
        /// The mistake.
        message: String,
        /// What to do about it.
        advice: String,
    },
}

/// The values that were read from variables.
#[derive(Debug, Default)]
pub struct Variables(Vec<Variable>);

#[derive(Debug)]
struct Variable {
    name: String,
    value: String,
    /// `--model`
    flag: String,
}

/// Reads the command line of the program `P`.
pub fn parse<P: Parser>(line: &[OsString]) -> Result<(P, Variables), Refused> {
    let typed = each(P::command(), &without_variable)
        .try_get_matches_from(line)
        .map_err(|error| Refused::CommandLine(as_documented::<P>(error, line)))?;
    let mut command = with_variables(P::command(), &flags_of(&typed, ValueSource::CommandLine));
    let matches = command
        .try_get_matches_from_mut(line)
        .map_err(|error| blamed(error, &command))?;
    let variables = Variables::taken(&command, &flags_of(&matches, ValueSource::EnvVariable));
    let program = P::from_arg_matches(&matches).map_err(Refused::CommandLine)?;
    Ok((program, variables))
}

/// Returns `error`; if it is a help text, with the variables in it.
fn as_documented<P: Parser>(error: clap::Error, line: &[OsString]) -> clap::Error {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let again = P::command().try_get_matches_from(line);
            again
                .err()
                .filter(|again| again.kind() == error.kind())
                .unwrap_or(error)
        }
        _ => error,
    }
}

/// Returns the command with those variables that count, given the flags that were typed.
fn with_variables(command: Command, typed: &BTreeSet<String>) -> Command {
    let excluded = excluded(&command, typed);
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env() else {
            return arg;
        };
        let is_empty = std::env::var_os(name).is_none_or(|value| value.is_empty());
        if is_empty || excluded.contains(arg.get_id().as_str()) {
            return without_variable(arg);
        }
        match arg.get_action() {
            ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
            _ => arg,
        }
    });
    command.mut_subcommands(|command| with_variables(command, typed))
}

/// Returns the arguments that conflict with those that were typed.
fn excluded(command: &Command, typed: &BTreeSet<String>) -> BTreeSet<String> {
    let mut excluded = BTreeSet::new();
    for arg in command.get_arguments() {
        for other in command.get_arg_conflicts_with(arg) {
            for (one, two) in [(arg, other), (other, arg)] {
                if typed.contains(one.get_id().as_str()) {
                    excluded.insert(two.get_id().to_string());
                }
            }
        }
    }
    excluded
}

fn without_variable(arg: Arg) -> Arg {
    arg.env(Resettable::Reset)
}

/// Applies `change` to all arguments of a command and of its subcommands.
fn each(command: Command, change: &impl Fn(Arg) -> Arg) -> Command {
    command
        .mut_args(change)
        .mut_subcommands(|command| each(command, change))
}

/// Returns the names of the arguments that came from `source`.
fn flags_of(matches: &ArgMatches, source: ValueSource) -> BTreeSet<String> {
    // clap names arguments of all commands below here too, and panics when it is asked about them (4.6).
    let here = matches.ids().map(clap::Id::as_str);
    let here = here.filter(|id| matches.try_contains_id(id).is_ok());
    let mut flags: BTreeSet<String> = here
        .filter(|id| matches.value_source(id) == Some(source))
        .map(str::to_owned)
        .collect();
    if let Some((_, below)) = matches.subcommand() {
        flags.append(&mut flags_of(below, source));
    }
    flags
}

/// Turns an error that occurs only with the variables into one that names its variable.
fn blamed(error: clap::Error, command: &Command) -> Refused {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return Refused::CommandLine(error);
    };
    // `--top <N>`
    let flag = shown.split([' ', '[', '=']).next();
    let variables = variables(command).into_iter();
    let mut variables = variables.map(|(_, variable)| variable);
    let Some(variable) = variables.find(|variable| flag == Some(&variable.flag)) else {
        return Refused::CommandLine(error);
    };
    let reason = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(valid))) => format!("not one of {}", valid.join(", ")),
        _ => "not a valid value".into(),
    };
    Refused::Variable {
        message: format!("{}={}: {reason}", variable.name, variable.value),
        advice: format!(
            "unset it, or give {}, which overrides it; --help says what is accepted",
            variable.flag
        ),
    }
}

/// Returns the variables that are set, with the arguments that they stand for.
fn variables(command: &Command) -> Vec<(&Arg, Variable)> {
    let here = command.get_arguments().filter_map(|arg| {
        let name = arg.get_env()?;
        let variable = Variable {
            name: name.to_string_lossy().into_owned(),
            value: std::env::var_os(name)?.to_string_lossy().into_owned(),
            flag: format!("--{}", arg.get_long()?),
        };
        Some((arg, variable))
    });
    let below = command.get_subcommands().flat_map(variables);
    here.chain(below).collect()
}

impl Variables {
    fn taken(command: &Command, flags: &BTreeSet<String>) -> Self {
        let set = variables(command).into_iter();
        let taken = set.filter(|(arg, _)| flags.contains(arg.get_id().as_str()));
        let mut taken: Vec<Variable> = taken.map(|(_, variable)| variable).collect();
        taken.sort_by(|a, b| a.name.cmp(&b.name));
        taken.dedup_by(|a, b| a.name == b.name);
        Self(taken)
    }

    /// Returns the variable's name for a flag that was not typed.
    pub fn name_instead(&self, message: String) -> String {
        let variable = self.0.iter().find(|variable| variable.flag == message);
        variable.map_or(message, |variable| variable.name.clone())
    }

    /// Describes which flags in `text` come from the environment, if any.
    pub fn mentioned(&self, text: &str) -> Option<String> {
        let is_in = |flag: &str| {
            text.match_indices(flag).any(|(at, _)| {
                let next = text[at + flag.len()..].chars().next();
                !next.is_some_and(|next| next == '-' || next.is_alphanumeric())
            })
        };
        let set: Vec<String> = self
            .0
            .iter()
            .filter(|variable| is_in(&variable.flag))
            .map(|variable| format!("{}={}", variable.name, variable.value))
            .collect();
        (!set.is_empty()).then(|| format!("the environment has {}", set.join(" ")))
    }
}

//! The steps of schedules, one a file.
//!
//! A step is a value: what it is applied to by name, its numbers, and the names that it gives to what it makes.
//! It keeps what a nest computes or refuses, and its file opens with what it does before → after, which is
//! executed. Listing its file here is all that it takes to have it in texts, documentation and random tests.

use std::fmt::{self, Display, Formatter};

use tcc_ir::diag::Diag;
use tcc_ir::loops::Nest;
use tcc_ir::text::Cursor;

use super::Refusal;

/// What a step is in documents and texts.
#[derive(Clone, Copy, Debug)]
pub struct StepDef {
    /// The name in texts.
    pub name: &'static str,
    /// Its arguments and, behind an arrow, what it names.
    pub form: &'static str,
    /// The source of its file, whose header shows what it does.
    pub source: &'static str,
}

impl StepDef {
    /// The header of its file: the lines that start with `//!`, without that.
    pub fn doc(&self) -> String {
        let lines = self.source.lines().take_while(|l| l.starts_with("//!"));
        let text: Vec<&str> =
            lines.map(|l| l.trim_start_matches("//!")).map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
        text.join("\n")
    }
}

/// Declares a step: its arguments, what it names, and its text from them.
macro_rules! step {
    (
        $(#[$doc:meta])*
        $name:ident = $text:literal
            ($($(#[$argument_doc:meta])* $argument:ident: $argument_ty:ty),* $(,)?)
            $(-> ($($(#[$result_doc:meta])* $result:ident: $result_ty:ty),* $(,)?))?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$argument_doc])* pub $argument: $argument_ty,)*
            $($($(#[$result_doc])* pub $result: $result_ty,)*)?
        }

        impl $name {
            pub(super) const NAME: &'static str = $text;
            pub(super) const FORM: &'static str = concat!(
                $text, "(", stringify!($($argument),*), ")" $(, " -> ", stringify!($($result),*))?
            );

            pub(super) fn parse(
                cursor: &mut tcc_ir::text::Cursor<'_>,
            ) -> Result<$name, tcc_ir::diag::Diag> {
                let mut arguments = crate::schedule::text::Arguments::open(cursor)?;
                $(let $argument = arguments.next(stringify!($argument))?;)*
                arguments.close()?;
                $(
                    arguments.arrow()?;
                    $(let $result = arguments.next(stringify!($result))?;)*
                )?
                Ok($name { $($argument,)* $($($result,)*)? })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use crate::schedule::text::{WriteArgument, write_arguments};
                write!(f, "{}(", $text)?;
                write_arguments(f, &[$(&self.$argument as &dyn WriteArgument),*])?;
                f.write_str(")")?;
                $(
                    f.write_str(" -> ")?;
                    write_arguments(f, &[$(&self.$result as &dyn WriteArgument),*])?;
                )?
                Ok(())
            }
        }
    };
}

/// The steps there are, from their files.
macro_rules! steps {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(mod $module;)*
        $(pub use self::$module::$name;)*

        /// A step of a schedule.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Step {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($name),
            )*
        }

        /// Every step.
        pub static STEPS: &[StepDef] = &[$(StepDef {
            name: $name::NAME,
            form: $name::FORM,
            source: include_str!(concat!(stringify!($module), ".rs")),
        }),*];

        impl Step {
            /// The nest after the step, which computes the same.
            pub fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
                match self { $(Step::$name(step) => step.apply(nest)),* }
            }

            pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Step, Diag> {
                $(if cursor.accept($name::NAME) {
                    return $name::parse(cursor).map(Step::$name);
                })*
                let known: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
                let mut diag = cursor.expected("the name of a step");
                diag.message += &format!("; there are {}", known.join(", "));
                Err(diag)
            }
        }

        impl Display for Step {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                match self { $(Step::$name(step) => step.fmt(f)),* }
            }
        }

        $(impl From<$name> for Step {
            fn from(step: $name) -> Step {
                Step::$name(step)
            }
        })*
    };
}

steps! {
    bind::Bind,
    chunk::Chunk,
    collapse::Collapse,
    cut::Cut,
    enclose::Enclose,
    expand::Expand,
    fuse::Fuse,
    halve::Halve,
    isolate::Isolate,
    pad::Pad,
    parallel::Parallel,
    reorder::Reorder,
    split::Split,
    split_reduction::SplitReduction,
    tensorise::Tensorise,
    unroll::Unroll,
    vectorise::Vectorise,
}

pub use self::bind::Axis;
pub use self::split::Tail;

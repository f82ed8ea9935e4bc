//! Resampling of images.

use super::super::context::{Cx, Refusal, Results, Rule};

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[];

pub(crate) fn deform_conv(_: &mut Cx<'_, '_>) -> Results {
    Err(Refusal::new(""))
}

//! Search over schedules, and the records it leaves.

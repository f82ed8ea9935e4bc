//! The texts of schedules and of rewrite rules: any bytes give a value or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(schedules) = tcc_lowering::schedule::parse_schedules(text) {
        let printed: String = schedules.iter().map(ToString::to_string).collect();
        assert!(tcc_lowering::schedule::parse_schedules(&printed).is_ok_and(|again| again == schedules));
    }
    let _ = tcc_lowering::eqsat::RuleSet::parse(text, "fuzz");
});

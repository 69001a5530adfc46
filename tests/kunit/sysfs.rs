// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Parsing of the attributes.

use kernel::prelude::*;

#[kunit_tests(panthor_sysfs)]
mod tests {
    use crate::panthor_sysfs::parse_tgid;
    use kernel::prelude::*;

    #[test]
    fn numbers() {
        assert_eq!(parse_tgid(c"1"), Ok(1));
        assert_eq!(parse_tgid(c"1234\n"), Ok(1234));
        assert_eq!(parse_tgid(c"0x1f"), Ok(31));
        assert_eq!(parse_tgid(c"0X1F\n"), Ok(31));
        assert_eq!(parse_tgid(c"017"), Ok(15));
        assert_eq!(parse_tgid(c"2147483647"), Ok(i32::MAX));
    }

    #[test]
    fn no_numbers() {
        for text in [
            c"", c"\n", c" ", c"  \n", c"abc", c"1 2", c"1x", c"x1", c" 1", c"1 ", c"1\n2",
            c"1\n\n", c"\n1", c"0x", c"08", c"1.0", c"-", c"+", c"--1",
        ] {
            assert_eq!(parse_tgid(text), Err(EINVAL));
        }
    }

    #[test]
    fn not_positive() {
        assert_eq!(parse_tgid(c"0"), Err(EINVAL));
        assert_eq!(parse_tgid(c"-1"), Err(EINVAL));
        assert_eq!(parse_tgid(c"-2147483648"), Err(EINVAL));
    }

    #[test]
    fn out_of_range() {
        assert_eq!(parse_tgid(c"2147483648"), Err(ERANGE));
        assert_eq!(parse_tgid(c"99999999999999999999999"), Err(ERANGE));
        assert_eq!(parse_tgid(c"0x100000000"), Err(ERANGE));
    }
}

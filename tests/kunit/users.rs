// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counts of users.

use kernel::prelude::*;

#[kunit_tests(panthor_users)]
mod tests {
    use crate::kernel_ext::{drm::gem::users::Users, kunit::count_warnings};

    #[test]
    fn first_and_last() {
        let users = Users::new();
        assert!(!users.any());
        assert!(!users.join());
        users.begin();
        assert!(users.any());
        assert!(users.join());
        users.join_another();
        assert!(users.leave());
        assert!(users.leave());
        // The last one takes the lock.
        assert!(!users.leave());
        assert!(users.any());
        assert!(users.end());
        assert!(!users.any());
    }

    #[test]
    fn too_many_stay() {
        let users = Users::full();
        let warnings = count_warnings(|| {
            assert!(users.join());
            assert!(users.any());
            users.join_another();
            assert!(users.join());
        });
        // What it came to is said once for all counters.
        assert!(warnings <= 1);
        let warnings = count_warnings(|| {
            for _ in 0..3 {
                assert!(users.any());
                assert!(users.leave());
                assert!(!users.end());
            }
        });
        assert!(warnings <= 2);
        assert!(users.any());
    }

    #[test]
    fn one_too_few() {
        let users = Users::new();
        let _ = count_warnings(|| {
            assert!(users.leave());
            assert!(!users.end());
        });
        // Rather for ever than not at all: what they use stays.
        assert!(users.any());
    }
}

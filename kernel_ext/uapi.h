/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Input of the bindgen run for the uAPI.
 */

#include <linux/types.h>
#include <uapi/drm/panthor_drm.h>

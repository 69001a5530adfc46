/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Input of the module's own bindgen run: headers with what `kernel::bindings` lacks. The items
 * taken from them are listed in bindgen_parameters.
 */

#include <linux/types.h>
#include <drm/drm_auth.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_print.h>

#include "helpers.h"
#include "helpers_mem.h"

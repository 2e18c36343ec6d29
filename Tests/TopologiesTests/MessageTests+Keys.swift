@testable import Topologies

extension MessageTests {
  static let keys: [Case] = [
    Case(
      "unknownKeyWithANearOne", [("  zone: Europe", "  zon: Europe")],
      [
        "18:3: unknown key \"zon\" in time: did you mean \"zone\"?"
      ]),
    Case(
      "unknownKeyWithNoNearOne", [("  zone: Europe/Berlin", "  zone: Europe/Berlin\n  colour: red")],
      [
        "19:3: unknown key \"colour\" in time: expected one of allowed_lateness, zone, max_future_skew"
      ]),
    Case(
      "unknownKeyOfTheFile", [("deduplicate:", "dedup:")],
      [
        "19:1: unknown key \"dedup\": did you mean \"deduplicate\"?"
      ]),
    Case(
      "unknownKeyInCamelCase", [("allowed_lateness", "allowedLateness")],
      [
        "17:3: unknown key \"allowedLateness\" in time: did you mean \"allowed_lateness\"?"
      ]),
    Case(
      "unknownKeyOfAnAggregate", [("    by: [country]", "    group_by: [country]")],
      [
        "23:5: unknown key \"group_by\" in aggregates.daily_orders: did you mean \"by\"?"
      ]),
    Case(
      "unknownKeyOfAField", [("default: unknown", "defualt: unknown")],
      [
        "11:30: unknown key \"defualt\" in event.fields.country: did you mean \"default\"?"
      ]),
    Case(
      "unknownKeyOfSource", [("  partition_key: user_id", "  partitionkey: user_id")],
      [
        "5:3: unknown key \"partitionkey\" in source: did you mean \"partition_key\"?"
      ]),
    Case(
      "unknownKeyOfReconcile", [("against: raw", "with: raw")],
      [
        "34:3: reconcile.daily_orders: against is missing: add against: raw",
        "34:19: unknown key \"with\" in reconcile.daily_orders: expected against or tolerance"
      ]),
    Case(
      "keyThatIsNotText", [("    paid: boolean", "    ? [paid]\n    : boolean")],
      [
        "13:7: a key in event.fields is a list, expected a text",
        "32:14: aggregates.orders_per_minute.where: there is no field \"paid\": event.fields has user_id, country, coupon, items, amount"
      ]),
    Case(
      "keyWithControlCharacters", [("    paid: boolean", "    \"pa\\nid\": boolean")],
      [
        "13:5: \"pa\\nid\" cannot be the name of a field: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters; \"pa_id\" would do",
        "31:14: aggregates.orders_per_minute.where: there is no field \"paid\": event.fields has user_id, country, coupon, items, amount"
      ]),
    Case(
      "missingAllowedLateness", [("  allowed_lateness: 48h\n", "")],
      [
        "16:1: time: allowed_lateness is missing: it decides when windows become final and is never implied; add allowed_lateness: 48h (or 0s for no lateness)"
      ]),
    Case(
      "missingZone", [("  zone: Europe/Berlin\n", "")],
      [
        "16:1: time: zone is missing: it decides where days begin and is never implied; add zone: UTC (or Europe/Berlin, ...)"
      ]),
    Case(
      "missingTime", [("time:\n  allowed_lateness: 48h\n  zone: Europe/Berlin\n", "")],
      [
        "1:1: time is missing: add time: { allowed_lateness: 48h, zone: UTC }"
      ]),
    Case(
      "missingTopology", [("topology: shop\n", "")],
      [
        "1:1: topology is missing: add topology: NAME"
      ]),
    Case(
      "missingSource", [("source:\n  topics: [shop.orders]\n  format: json\n  partition_key: user_id\n", "")],
      [
        "1:1: source is missing: add source: { topics: [TOPIC], format: json, partition_key: FIELD }"
      ]),
    Case(
      "missingTopics", [("  topics: [shop.orders]\n", "")],
      [
        "2:1: source: topics is missing: add topics: [TOPIC]"
      ]),
    Case(
      "missingEventTime", [("  time: created_at\n", "")],
      [
        "6:1: event: time is missing: add time: PATH (RFC 3339) or time: { path: PATH, format: epoch_milliseconds }"
      ]),
    Case(
      "missingWindow", [("    window: { tumbling: 1 day }\n", "")],
      [
        "21:3: aggregates.daily_orders: window is missing: add window: { tumbling: 1 day }"
      ]),
    Case(
      "missingMeasures", [("    measures: { orders: count }\n", "")],
      [
        "29:3: aggregates.orders_per_minute: measures is missing: add measures: { event_count: count }"
      ]),
    Case(
      "missingTypeOfAField", [("{ type: string, optional: true }", "{ optional: true }")],
      [
        "12:5: event.fields.coupon: type is missing: add type: string, integer or boolean, or type: decimal with a scale"
      ]),
    Case(
      "missingAgainst", [("{ against: raw, tolerance: exact }", "{ tolerance: exact }")],
      [
        "34:3: reconcile.daily_orders: against is missing: add against: raw"
      ]),
    Case(
      "missingWithin", [("{ within: 1h }", "{}")],
      [
        "19:1: deduplicate: within is missing: add within: 1h"
      ]),
    Case(
      "twoAggregatesWithOneName", [("  orders_per_minute:", "  daily_orders:")],
      [
        "29:3: duplicate key \"daily_orders\" in aggregates: it already stands at 21:3; keep one of them"
      ]),
    Case(
      "threeKeysWithOneName", [("    paid: boolean\n", "    paid: boolean\n    paid: string\n    'paid': integer\n")],
      [
        "14:5: duplicate key \"paid\" in event.fields: it already stands at 13:5; keep one of them",
        "15:5: duplicate key \"paid\" in event.fields: it already stands at 13:5; keep one of them",
        "33:20: aggregates.orders_per_minute.where.paid is \"true\", expected an integer such as 0"
      ]),
    Case(
      "sameKeyAsTextAndAsNumber", [("    paid: boolean\n", "    1: boolean\n    \"1\": boolean\n    paid: boolean\n")],
      [
        "14:5: duplicate key \"1\" in event.fields: it already stands at 13:5; keep one of them",
        "14:5: \"1\" cannot be the name of a field: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters"
      ]),
    Case(
      "unknownKeyIsNotMissedAsWell", [("    measures: { orders: count }", "    metrics: { orders: count }")],
      [
        "32:5: unknown key \"metrics\" in aggregates.orders_per_minute: did you mean \"measures\"?"
      ]),
    Case(
      "tooManyFields",
      [
        (
          "    paid: boolean\n",
          "    paid: boolean\n    f0: string\n    f1: string\n    f2: string\n    f3: string\n    f4: string\n    f5: string\n    f6: string\n    f7: string\n    f8: string\n    f9: string\n    f10: string\n    f11: string\n    f12: string\n    f13: string\n    f14: string\n    f15: string\n    f16: string\n    f17: string\n    f18: string\n    f19: string\n    f20: string\n    f21: string\n    f22: string\n    f23: string\n    f24: string\n    f25: string\n    f26: string\n    f27: string\n    f28: string\n    f29: string\n    f30: string\n    f31: string\n    f32: string\n    f33: string\n    f34: string\n    f35: string\n    f36: string\n    f37: string\n    f38: string\n    f39: string\n    f40: string\n    f41: string\n    f42: string\n    f43: string\n    f44: string\n    f45: string\n    f46: string\n    f47: string\n    f48: string\n    f49: string\n    f50: string\n    f51: string\n    f52: string\n    f53: string\n    f54: string\n    f55: string\n    f56: string\n    f57: string\n    f58: string\n    f59: string\n    f60: string\n    f61: string\n    f62: string\n    f63: string\n    f64: string\n    f65: string\n    f66: string\n    f67: string\n    f68: string\n    f69: string\n    f70: string\n    f71: string\n    f72: string\n    f73: string\n    f74: string\n    f75: string\n    f76: string\n    f77: string\n    f78: string\n    f79: string\n    f80: string\n    f81: string\n    f82: string\n    f83: string\n    f84: string\n    f85: string\n    f86: string\n    f87: string\n    f88: string\n    f89: string\n    f90: string\n    f91: string\n    f92: string\n    f93: string\n    f94: string\n    f95: string\n    f96: string\n    f97: string\n    f98: string\n    f99: string\n    f100: string\n    f101: string\n    f102: string\n    f103: string\n    f104: string\n    f105: string\n    f106: string\n    f107: string\n    f108: string\n    f109: string\n    f110: string\n    f111: string\n    f112: string\n    f113: string\n    f114: string\n    f115: string\n    f116: string\n    f117: string\n    f118: string\n    f119: string\n    f120: string\n    f121: string\n    f122: string\n    f123: string\n    f124: string\n    f125: string\n    f126: string\n    f127: string\n    f128: string\n    f129: string\n    f130: string\n    f131: string\n    f132: string\n    f133: string\n    f134: string\n    f135: string\n    f136: string\n    f137: string\n    f138: string\n    f139: string\n    f140: string\n    f141: string\n    f142: string\n    f143: string\n    f144: string\n    f145: string\n    f146: string\n    f147: string\n    f148: string\n    f149: string\n    f150: string\n    f151: string\n    f152: string\n    f153: string\n    f154: string\n    f155: string\n    f156: string\n    f157: string\n    f158: string\n    f159: string\n    f160: string\n    f161: string\n    f162: string\n    f163: string\n    f164: string\n    f165: string\n    f166: string\n    f167: string\n    f168: string\n    f169: string\n    f170: string\n    f171: string\n    f172: string\n    f173: string\n    f174: string\n    f175: string\n    f176: string\n    f177: string\n    f178: string\n    f179: string\n    f180: string\n    f181: string\n    f182: string\n    f183: string\n    f184: string\n    f185: string\n    f186: string\n    f187: string\n    f188: string\n    f189: string\n    f190: string\n    f191: string\n    f192: string\n    f193: string\n    f194: string\n    f195: string\n    f196: string\n    f197: string\n    f198: string\n    f199: string\n    f200: string\n    f201: string\n    f202: string\n    f203: string\n    f204: string\n    f205: string\n    f206: string\n    f207: string\n    f208: string\n    f209: string\n    f210: string\n    f211: string\n    f212: string\n    f213: string\n    f214: string\n    f215: string\n    f216: string\n    f217: string\n    f218: string\n    f219: string\n    f220: string\n    f221: string\n    f222: string\n    f223: string\n    f224: string\n    f225: string\n    f226: string\n    f227: string\n    f228: string\n    f229: string\n    f230: string\n    f231: string\n    f232: string\n    f233: string\n    f234: string\n    f235: string\n    f236: string\n    f237: string\n    f238: string\n    f239: string\n    f240: string\n    f241: string\n    f242: string\n    f243: string\n    f244: string\n"
        )
      ],
      [
        "9:3: event.fields has 251 entries, at most 250 are allowed"
      ]),
    Case(
      "tooManyTopics",
      [
        (
          "[shop.orders]",
          "[t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15, t16, t17, t18, t19, t20, t21, t22, t23, t24, t25, t26, t27, t28, t29, t30, t31, t32, t33, t34, t35, t36, t37, t38, t39, t40, t41, t42, t43, t44, t45, t46, t47, t48, t49, t50, t51, t52, t53, t54, t55, t56, t57, t58, t59, t60, t61, t62, t63, t64, t65, t66, t67, t68, t69, t70, t71, t72, t73, t74, t75, t76, t77, t78, t79, t80, t81, t82, t83, t84, t85, t86, t87, t88, t89, t90, t91, t92, t93, t94, t95, t96, t97, t98, t99, t100, t101, t102, t103, t104, t105, t106, t107, t108, t109, t110, t111, t112, t113, t114, t115, t116, t117, t118, t119, t120, t121, t122, t123, t124, t125, t126, t127, t128, t129, t130, t131, t132, t133, t134, t135, t136, t137, t138, t139, t140, t141, t142, t143, t144, t145, t146, t147, t148, t149, t150, t151, t152, t153, t154, t155, t156, t157, t158, t159, t160, t161, t162, t163, t164, t165, t166, t167, t168, t169, t170, t171, t172, t173, t174, t175, t176, t177, t178, t179, t180, t181, t182, t183, t184, t185, t186, t187, t188, t189, t190, t191, t192, t193, t194, t195, t196, t197, t198, t199, t200, t201, t202, t203, t204, t205, t206, t207, t208, t209, t210, t211, t212, t213, t214, t215, t216, t217, t218, t219, t220, t221, t222, t223, t224, t225, t226, t227, t228, t229, t230, t231, t232, t233, t234, t235, t236, t237, t238, t239, t240, t241, t242, t243, t244, t245, t246, t247, t248, t249, t250, t251, t252, t253, t254, t255, t256, t257, t258, t259, t260, t261, t262, t263, t264, t265, t266, t267, t268, t269, t270, t271, t272, t273, t274, t275, t276, t277, t278, t279, t280, t281, t282, t283, t284, t285, t286, t287, t288, t289, t290, t291, t292, t293, t294, t295, t296, t297, t298, t299, t300, t301, t302, t303, t304, t305, t306, t307, t308, t309, t310, t311, t312, t313, t314, t315, t316, t317, t318, t319, t320, t321, t322, t323, t324, t325, t326, t327, t328, t329, t330, t331, t332, t333, t334, t335, t336, t337, t338, t339, t340, t341, t342, t343, t344, t345, t346, t347, t348, t349, t350, t351, t352, t353, t354, t355, t356, t357, t358, t359, t360, t361, t362, t363, t364, t365, t366, t367, t368, t369, t370, t371, t372, t373, t374, t375, t376, t377, t378, t379, t380, t381, t382, t383, t384, t385, t386, t387, t388, t389, t390, t391, t392, t393, t394, t395, t396, t397, t398, t399, t400, t401, t402, t403, t404, t405, t406, t407, t408, t409, t410, t411, t412, t413, t414, t415, t416, t417, t418, t419, t420, t421, t422, t423, t424, t425, t426, t427, t428, t429, t430, t431, t432, t433, t434, t435, t436, t437, t438, t439, t440, t441, t442, t443, t444, t445, t446, t447, t448, t449, t450, t451, t452, t453, t454, t455, t456, t457, t458, t459, t460, t461, t462, t463, t464, t465, t466, t467, t468, t469, t470, t471, t472, t473, t474, t475, t476, t477, t478, t479, t480, t481, t482, t483, t484, t485, t486, t487, t488, t489, t490, t491, t492, t493, t494, t495, t496, t497, t498, t499, t500]"
        )
      ],
      [
        "3:11: source.topics has 501 entries, at most 500 are allowed"
      ]),
    Case(
      "duplicateSections", [("reconcile:", "time: { zone: UTC, allowed_lateness: 1h }\nreconcile:")],
      [
        "33:1: duplicate key \"time\": it already stands at 16:1; keep one of them"
      ])
  ]
}

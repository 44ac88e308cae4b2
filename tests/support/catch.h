// The one place that names the test framework's header (Catch2 v2 on Debian 12).
#pragma once

#include <catch2/catch.hpp>

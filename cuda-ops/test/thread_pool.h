#pragma once

#include "common/thread_pool.h"

namespace ortqlora::test {

using ortqlora::ThreadPool;

}  // namespace ortqlora::test

#include "test/test.h"

int main(int argc, char** argv) { return ortqlora::test::RunTests(argc, argv); }

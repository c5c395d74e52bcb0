// Fibers: stacks that are switched by hand, a CUDA thread on each.
#pragma once

#include <cstddef>

namespace emulator {

/// A suspended flow of control: its stack pointer (x86-64), or a handle (elsewhere).
using Context = void*;

/// A stack for a fiber, with a page below it that nobody may touch.
class Stack {
public:
    Stack();
    ~Stack();
    Stack(Stack&&) noexcept;
    Stack(const Stack&) = delete;
    Stack& operator=(const Stack&) = delete;

    /// A context that will run `entry`, which must never return.
    Context prepare(void (*entry)());
    bool holds(const void* address) const;

private:
    char* memory_;
    void* spare_ = nullptr;
};

/// Suspends the present flow into `from` and resumes `to`.
void switch_context(Context& from, Context to);

}  // namespace emulator

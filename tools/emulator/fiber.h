// Fibers: stacks that are switched by hand, a CUDA thread on each.
#pragma once

#include <cstddef>
#include <vector>

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

    /// A stack that was given back, or a new one: making one takes longer than many a test.
    static Stack take();
    /// Keeps stacks for whoever takes the next ones.
    static void give_back(std::vector<Stack>&& stacks);

    /// A context that will run `entry`, which must never return.
    Context prepare(void (*entry)());
    /// The lowest address, and how many bytes there are.
    const char* start() const;
    static constexpr size_t bytes() { return 128 << 10; }

private:
    char* memory_;
    void* spare_ = nullptr;
};

/// Suspends the present flow into `from` and resumes `to`.
void switch_context(Context& from, Context to);

}  // namespace emulator

#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

namespace {
constexpr size_t STACK_BYTES = Stack::bytes();
constexpr size_t GUARD_BYTES = 16 << 10;  // At least a page, whatever the machine's page size.
}  // namespace

Stack::Stack() {
    void* memory = mmap(nullptr, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE) != 0) {
        perror("emulator: no memory for a thread's stack");
        abort();
    }
    memory_ = static_cast<char*>(memory);
}

Stack::Stack(Stack&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)), spare_(std::exchange(other.spare_, nullptr)) {}

const char* Stack::start() const { return memory_ + GUARD_BYTES; }

namespace {
std::mutex stock_lock;
std::vector<Stack>& stock() {
    // Never destroyed: machines of other threads may outlive this library's statics.
    static auto* all = new std::vector<Stack>;
    return *all;
}
}  // namespace

Stack Stack::take() {
    const std::lock_guard guard(stock_lock);
    if (stock().empty()) return Stack();
    Stack stack = std::move(stock().back());
    stock().pop_back();
    return stack;
}

void Stack::give_back(std::vector<Stack>&& stacks) {
    const std::lock_guard guard(stock_lock);
    for (Stack& stack : stacks) stock().push_back(std::move(stack));
}

#if defined(__x86_64__)

// The System V ABI's callee-saved registers; floating-point control words are never changed. A system call per switch, as in glibc's
// swapcontext, would take most of the emulator's time.
extern "C" void emulator_switch(Context* from, Context to);
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");

Context Stack::prepare(void (*entry)()) {
    auto* top = reinterpret_cast<uintptr_t*>(memory_ + GUARD_BYTES + STACK_BYTES);
    *--top = 0;  // Where a return address would lie: `entry` sees the alignment that a call gives it.
    *--top = reinterpret_cast<uintptr_t>(entry);
    for (int saved = 0; saved < 6; ++saved) *--top = 0;
    return top;
}

void switch_context(Context& from, Context to) { emulator_switch(&from, to); }

Stack::~Stack() {
    if (memory_) munmap(memory_, GUARD_BYTES + STACK_BYTES);
}

#else

Context Stack::prepare(void (*entry)()) {
    auto* context = spare_ ? static_cast<ucontext_t*>(spare_) : new ucontext_t;
    spare_ = context;
    getcontext(context);
    context->uc_stack.ss_sp = memory_ + GUARD_BYTES;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}

void switch_context(Context& from, Context to) {
    ucontext_t here;
    from = &here;
    swapcontext(&here, static_cast<ucontext_t*>(to));
}

Stack::~Stack() {
    delete static_cast<ucontext_t*>(spare_);
    if (memory_) munmap(memory_, GUARD_BYTES + STACK_BYTES);
}

#endif

}  // namespace emulator

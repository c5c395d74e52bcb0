// The C interface through which the engine's emulator driver (src/backend/cuda/driver/emulator.rs) reaches a library of kernels.
#include <algorithm>
#include <cstring>
#include <vector>

#include "machine.h"

namespace emulator {

namespace {
std::vector<Kernel>& kernels() {
    static std::vector<Kernel> all;
    return all;
}

const Kernel* find(const char* name) {
    for (const Kernel& k : kernels())
        if (strcmp(k.name, name) == 0) return &k;
    return nullptr;
}
}  // namespace

Registration::Registration(const Kernel& kernel) { kernels().push_back(kernel); }

}  // namespace emulator

using emulator::Machine;

#pragma GCC visibility push(default)
extern "C" {

/// The architecture that the kernels were compiled for: 70, 75, 80, 90.
unsigned emulator_architecture() { return EMULATED_ARCH / 10; }

unsigned emulator_kernels() { return emulator::kernels().size(); }
const char* emulator_kernel_name(unsigned i) { return emulator::kernels()[i].name; }

/// The size of a kernel's parameters; 0 if there is no such kernel.
size_t emulator_parameter_bytes(const char* name) {
    const auto* kernel = emulator::find(name);
    return kernel ? kernel->parameter_bytes : 0;
}

Machine* emulator_new(uint64_t seed) { return new Machine(seed); }
void emulator_free(Machine* machine) { delete machine; }
uint64_t emulator_allocate(Machine* machine, size_t bytes) { return machine->allocate(bytes); }
void emulator_release(Machine* machine, uint64_t address) { machine->release(address); }
void emulator_write(Machine* machine, uint64_t to, const void* from, size_t bytes) { machine->write(to, from, bytes); }
void emulator_read(Machine* machine, void* to, uint64_t from, size_t bytes) { machine->read(to, from, bytes); }
void emulator_trace(Machine* machine, int on) { machine->trace(on); }
void emulator_traffic(const Machine* machine, emulator::Traffic* traffic) { *traffic = machine->traffic(); }

/// Runs a kernel. Returns the length of the message of what went wrong (0: nothing), of which `message` gets as much as it holds.
size_t emulator_launch(Machine* machine, const char* name, const unsigned grid[3], unsigned threads, unsigned dynamic_shared, const void* parameters,
                       size_t parameter_bytes, const emulator::Operand* operands, size_t n_operands, char* message, size_t capacity) {
    const auto* kernel = emulator::find(name);
    std::string wrong;
    if (!kernel) {
        wrong = "there is no such kernel in this library";
    } else if (kernel->parameter_bytes != parameter_bytes) {
        wrong = "takes " + std::to_string(kernel->parameter_bytes) + " bytes of parameters, not " + std::to_string(parameter_bytes);
    } else {
        wrong = machine->launch(*kernel, {grid[0], grid[1], grid[2]}, threads, dynamic_shared, parameters, {operands, operands + n_operands});
    }
    const size_t n = std::min(wrong.size(), capacity);
    memcpy(message, wrong.data(), n);
    return n;
}
}  // extern "C"
#pragma GCC visibility pop

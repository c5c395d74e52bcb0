#include "traffic.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "emulator.h"

namespace emulator {

namespace {

constexpr unsigned WARP_LANES = 32;
constexpr uint64_t SECTOR = 32;
constexpr uint64_t BANKS = 32, BANK_BYTES = 4;

/// The passes that these lanes' words need together: the most different words in one bank.
unsigned wavefronts(const std::vector<const LaneAccess*>& lanes) {
    std::map<uint64_t, std::set<uint64_t>> words_of_bank;
    for (const LaneAccess* lane : lanes)
        for (uint64_t word = lane->address / BANK_BYTES; word * BANK_BYTES < lane->address + lane->bytes; ++word)
            words_of_bank[word % BANKS].insert(word);
    size_t most = 0;
    for (const auto& [bank, words] : words_of_bank) most = std::max(most, words.size());
    return most;
}

/// A request to shared memory: of 8 bytes a lane in two halves of the warp, of 16 in four quarters.
void add_shared(Traffic& traffic, const std::vector<const LaneAccess*>& lanes) {
    const unsigned parts = lanes[0]->bytes == 16 ? 4 : lanes[0]->bytes == 8 ? 2 : 1;
    ++traffic.shared_requests;
    for (unsigned part = 0; part < parts; ++part) {
        std::vector<const LaneAccess*> some(lanes.begin() + lanes.size() * part / parts, lanes.begin() + lanes.size() * (part + 1) / parts);
        if (some.empty()) continue;
        traffic.wavefronts += wavefronts(some);
        ++traffic.least_wavefronts;
    }
}

void add_global(Traffic& traffic, const std::vector<const LaneAccess*>& lanes) {
    std::set<uint64_t> sectors, bytes;
    for (const LaneAccess* lane : lanes) {
        for (uint64_t sector = lane->address / SECTOR; sector * SECTOR < lane->address + lane->bytes; ++sector) sectors.insert(sector);
        for (uint64_t byte = lane->address; byte < lane->address + lane->bytes; ++byte) bytes.insert(byte);
    }
    ++traffic.requests;
    traffic.sectors += sectors.size();
    traffic.least_sectors += (bytes.size() + SECTOR - 1) / SECTOR;
}

}  // namespace

Traffic TrafficLog::count() const {
    Traffic traffic;
    for (size_t first = 0; first < lanes_.size(); first += WARP_LANES) {
        // The n-th access at one place of the program is one request of the warp.
        std::map<std::tuple<const void*, bool, unsigned>, std::vector<const LaneAccess*>> requests;
        for (size_t lane = first; lane < std::min(first + WARP_LANES, lanes_.size()); ++lane) {
            std::map<const void*, unsigned> occurrences;
            for (const LaneAccess& access : lanes_[lane]) requests[{access.site, access.writes, occurrences[access.site]++}].push_back(&access);
        }
        for (const auto& [key, lanes] : requests) {
            if (lanes[0]->shared) {
                add_shared(traffic, lanes);
            } else {
                add_global(traffic, lanes);
            }
        }
    }
    for (const auto& rows : rows_) {
        ++traffic.shared_requests;
        for (size_t first = 0; first < rows.size(); first += 8) {
            std::vector<LaneAccess> eight;
            for (size_t i = first; i < first + 8; ++i) eight.push_back({nullptr, rows[i], 16, true, false});
            std::vector<const LaneAccess*> lanes;
            for (const LaneAccess& access : eight) lanes.push_back(&access);
            traffic.wavefronts += wavefronts(lanes);
            ++traffic.least_wavefronts;
        }
    }
    return traffic;
}

}  // namespace emulator

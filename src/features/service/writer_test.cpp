// The writer against what its rows say: random frontends come, change and go, agents restart in between, and the maps
// say the same as the rows.
#include "features/service/writer.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "features/service/maglev.h"

namespace axo::service {
namespace {

class LbWriterTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        maps_ = std::make_unique<LbMaps>(
            std::move(*LbMaps::create_private({.services = 64, .backends = 256, .source_ranges = 64})));
        tables_ = std::make_unique<LbTables>(std::move(*LbTables::create_private()));
        generations_ = std::make_unique<Generations>(std::move(*Generations::create_private()));
        restart();
    }
    void restart() {
        writer_.reset();
        tables_ = std::make_unique<LbTables>(
            std::move(*LbTables::use(RawBpfMap::from_fd(Fd(::dup(tables_->raw().fd())), "cilium_lb_tables").value())));
        writer_ =
            std::make_unique<LbWriter>(*maps_, *tables_, *generations_, LbWriter::Settings{}, [](const LbAddress&) {});
        ASSERT_TRUE(writer_->adopt());
    }
    void grace_period() {
        const auto batch = tables_->take_retired();
        const auto ids = writer_->backends().take_freed();
        ASSERT_TRUE(batch.wait());
        tables_->free(batch);
        writer_->backends().reuse(ids);
    }

    FrontendRow random_row(const FrontendKey& key, int service) {
        const bool six = key.address.is_v6();
        ServiceInfo info;
        info.name = {"default", "s" + std::to_string(service)};
        info.affinity_seconds = service % 2 == 0 ? 60 : 0;
        if (random_() % 2 == 0)
            info.source_ranges = {Prefix::parse(six ? "fd00::/16" : "10.0.0.0/8").value(),
                                  Prefix::parse(six ? "2001:db8::/32" : "192.0.2.0/24").value()};
        if (random_() % 4 == 0 && !info.source_ranges.empty()) info.source_ranges.pop_back();
        Selection selection;
        const auto add = [&](BackendState state) {
            const auto number = random_() % 12;
            const LbAddress address{
                IpAddress::parse((six ? "fd00:10::" : "10.0.0.") + std::to_string(number + 1)).value(), 8080,
                IPPROTO_TCP};
            if (std::ranges::any_of(selection.backends, [&](const Backend& one) { return one.address == address; }))
                return;
            selection.backends.push_back({.address = address, .state = state});
        };
        for (auto i = random_() % 5; i > 0; --i) add(BackendState::kActive);
        std::ranges::sort(selection.backends, {}, &Backend::address);
        selection.usable = static_cast<std::uint32_t>(selection.backends.size());
        if (random_() % 3 == 0) add(BackendState::kTerminating);
        return {.type = FrontendType::kLoadBalancer,
                .port_name = std::string_view("p"),
                .local_only = false,
                .source_ranges = !info.source_ranges.empty(),
                .maglev = random_() % 5 == 0,
                .service = std::make_shared<const ServiceInfo>(std::move(info)),
                .selection = std::make_shared<const Selection>(std::move(selection))};
    }
    bool put(const FrontendKey& key, const FrontendRow& row) {
        std::vector<std::uint16_t> table;
        if (writer_->needs_maglev(row)) {
            table.resize(251);
            for (std::size_t i = 0; i < table.size(); ++i)
                table[i] = static_cast<std::uint16_t>(i % row.selection->usable);
        }
        const auto number = writer_->put(key, row, table.empty() ? nullptr : &table);
        if (!number) {
            EXPECT_EQ(number.error().code, Code::kResourceExhausted) << number.error().message;
            return false;
        }
        return true;
    }

    void compare(const std::map<FrontendKey, FrontendRow>& rows) {
        const auto services = maps_->services().value();
        ASSERT_EQ(services.size(), rows.size());
        std::set<std::uint16_t> numbers;
        std::set<LbAddress> backends;
        std::set<LbSourceRange> ranges;
        std::map<std::uint32_t, std::string> groups;
        for (const auto& [key, value] : services) {
            const auto row = rows.find(key);
            ASSERT_NE(row, rows.end()) << key.to_string();
            const Selection& selection = *row->second.selection;
            EXPECT_TRUE(numbers.insert(value.rev_nat_index).second);
            EXPECT_EQ(value.backends, selection.usable);
            const auto ids = tables_->ids({value.table, value.size}).value();
            std::vector<LbAddress> reached, usable;
            for (const std::uint32_t id : ids) {
                const auto backend = maps_->backend(id);
                ASSERT_TRUE(backend) << key.to_string();
                if (std::ranges::find(reached, backend->address) == reached.end()) reached.push_back(backend->address);
            }
            for (std::uint32_t i = 0; i < selection.usable; ++i) usable.push_back(selection.backends[i].address);
            EXPECT_EQ(ids.size(), row->second.maglev && selection.usable > 1 ? 251U : selection.usable);
            EXPECT_EQ(reached, usable) << key.to_string();
            for (const Backend& one : selection.backends) backends.insert(one.address);
            if (row->second.source_ranges) {
                for (const Prefix& prefix : row->second.service->source_ranges)
                    ranges.insert({value.rev_nat_index, prefix});
            }
            if (row->second.service->affinity_seconds == 0) continue;
            const auto [group, fresh] = groups.emplace(value.affinity_group, row->second.service->name.to_string());
            EXPECT_EQ(group->second, row->second.service->name.to_string());
            EXPECT_EQ(writer_->affinity_timeout(value.affinity_group), 60U);
        }
        std::set<LbAddress> present;
        for (const LbBackendRow& row : maps_->backends()) present.insert(row.address);
        EXPECT_EQ(present, backends);
        EXPECT_EQ(writer_->backends().size(), backends.size());
        const auto all_ranges = maps_->source_ranges().value();
        EXPECT_EQ(std::set<LbSourceRange>(all_ranges.begin(), all_ranges.end()), ranges);
        std::set<std::pair<std::uint8_t, std::uint16_t>> ports;
        for (const auto& [key, row] : rows) {
            if (key.is_surrogate()) ports.emplace(key.protocol, key.port);
        }
        const auto bits = maps_->port_bits();
        EXPECT_EQ(std::set(bits.begin(), bits.end()), ports);
    }

    std::mt19937 random_{11};
    std::unique_ptr<LbMaps> maps_;
    std::unique_ptr<LbTables> tables_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<LbWriter> writer_;
};

TEST_F(LbWriterTest, TheMapsSayWhatTheRowsSay) {
    const char* addresses[] = {"192.0.2.1", "192.0.2.2", "0.0.0.0", "fd00:96::1", "::"};
    std::map<FrontendKey, FrontendRow> rows;
    std::map<FrontendKey, std::uint16_t> numbers;
    for (int step = 0; step < 3000; ++step) {
        const FrontendKey key{IpAddress::parse(addresses[random_() % 5]).value(),
                              static_cast<std::uint16_t>(80 + random_() % 3), IPPROTO_TCP};
        if (random_() % 4 == 0) {
            ASSERT_TRUE(writer_->remove(key));
            rows.erase(key);
        } else {
            // Each frontend is one Service's.
            const FrontendRow row = random_row(key, static_cast<int>(key.port));
            ASSERT_TRUE(put(key, row));
            rows.insert_or_assign(key, row);
        }
        writer_->commit();
        if (step % 25 == 0) grace_period();
        if (step % 50 == 0) {
            // While no agent ran, some went and some changed.
            restart();
            std::erase_if(rows, [&](const auto&) { return random_() % 5 == 0; });
            for (auto& [one, row] : rows) {
                if (random_() % 4 == 0) row = random_row(one, static_cast<int>(one.port));
                ASSERT_TRUE(put(one, row));
            }
            writer_->finish(true);
            writer_->commit();
        }
        if (step % 10 == 0) compare(rows);
        if (HasFatalFailure() || HasNonfatalFailure()) {
            ADD_FAILURE() << "step " << step;
            return;
        }
    }
    for (const auto& [key, row] : rows) ASSERT_TRUE(writer_->remove(key));
    compare({});
    EXPECT_TRUE(maps_->affinity_matches()->empty());
    grace_period();
    EXPECT_EQ(tables_->usage().used_bytes, 0U);
}

TEST_F(LbWriterTest, AnUndisturbedRestartWritesNothing) {
    std::map<FrontendKey, FrontendRow> rows;
    for (int i = 0; i < 20; ++i) {
        const FrontendKey key{IpAddress::parse("192.0.2." + std::to_string(i + 1)).value(), 80, IPPROTO_TCP};
        rows[key] = random_row(key, i);
        ASSERT_TRUE(put(key, rows[key]));
    }
    for (int times = 0; times < 2; ++times) {
        restart();
        for (const auto& [key, row] : rows) ASSERT_TRUE(put(key, row));
        writer_->finish(true);
        const ReconcileCounters counters = writer_->counters();
        EXPECT_EQ(counters.added + counters.updated + counters.removed, 0U);
        EXPECT_EQ(counters.unchanged_at_start, rows.size() + maps_->backends().size());
        compare(rows);
    }
}

}  // namespace
}  // namespace axo::service
